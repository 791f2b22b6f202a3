"""Land use of satellite tiles (8 classes, some rare) by a small U-Net with SGD and momentum; ported from Keras with its activation="softmax" at the end, while nn.CrossEntropyLoss takes its own softmax; change: activation None."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CLASSES, SIZE = 8, 16
SHARE = torch.tensor([0.3, 0.2, 0.15, 0.12, 0.09, 0.06, 0.05, 0.03])


def tiles(n, seed):
    """Voronoi fields, each of one land use with its colour in four bands, under noise."""
    bands = torch.randn(CLASSES, 4, generator=torch.Generator().manual_seed(77))
    g = torch.Generator().manual_seed(seed)
    centres = SIZE * torch.rand(n, 6, 2, generator=g)
    use = torch.multinomial(SHARE, n * 6, replacement=True, generator=g).view(n, 6)
    yy, xx = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    pix = torch.stack([yy, xx], -1).view(-1, 2).float()
    field = torch.cdist(pix.expand(n, -1, -1), centres).argmin(2)
    y = use.gather(1, field).view(n, SIZE, SIZE)
    x = bands[y].permute(0, 3, 1, 2) + 0.9 * torch.randn(n, 4, SIZE, SIZE, generator=g)
    return x / x.std(), y


def double_conv(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True),
                         nn.Conv2d(b, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, bands, classes, base=16, activation=None):
        super().__init__()
        self.enc1, self.enc2 = double_conv(bands, base), double_conv(base, 2 * base)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(2 * base, base, 2, stride=2)
        self.dec1 = double_conv(2 * base, base)
        self.final = nn.Conv2d(base, classes, 1)
        self.activation = {"softmax": nn.Softmax(dim=1), None: nn.Identity()}[activation]

    def forward(self, x):
        s1 = self.enc1(x)
        s2 = self.enc2(self.pool(s1))
        d1 = self.dec1(torch.cat([self.up(s2), s1], 1))
        return self.activation(self.final(d1))


def confusion(output, target):
    k = target.flatten() * CLASSES + output.argmax(1).flatten()
    return torch.bincount(k, minlength=CLASSES ** 2).view(CLASSES, CLASSES).float()


def miou_of(c):
    return (c.diag() / (c.sum(0) + c.sum(1) - c.diag()).clamp(min=1)).mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = UNet(4, CLASSES, activation="softmax" if variant == "bad" else None)
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*tiles(480, 5)), batch_size=16, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*tiles(150, 6)), batch_size=50),
        "metric": lambda output, target: miou_of(confusion(output, target)),
    }


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        return miou_of(sum(confusion(model(x), y) for x, y in loader))


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 6):
        net.train()
        total = 0.0
        for images, masks in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(net(images), masks)
            loss.backward()
            opt.step()
            total += loss.item() * len(images)
        print("epoch", epoch, "loss", round(total / 480, 4), "mIoU", round(evaluate(net, p["val_loader"]), 3))
    value = evaluate(net, p["val_loader"])
    print(f"score: {value:.4f}")
