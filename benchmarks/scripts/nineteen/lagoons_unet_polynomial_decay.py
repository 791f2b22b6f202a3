"""Segmentation of water in small aerial images with a little U-Net and the usual polynomial decay; bad: PolynomialLR counts epochs (total_iters=epochs) but is stepped after every batch, so the rate is zero after twelve batches; change: total_iters = epochs * batches."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 12


def scenes(n, seed):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(24.), torch.arange(24.), indexing="ij")
    cx, cy, r = (torch.rand(3, n, 1, 1, generator=g) * torch.tensor([14., 14., 4.]).view(3, 1, 1, 1) + torch.tensor([5., 5., 4.]).view(3, 1, 1, 1))
    wobble = torch.rand(n, 1, 1, generator=g) * 6
    angle = torch.atan2(yy - cy, xx - cx)
    mask = ((yy - cy) ** 2 + (xx - cx) ** 2).sqrt() < r + 1.5 * torch.sin(3 * angle + wobble)
    light = torch.randn(n, 1, 1, 1, generator=g) * 0.5
    image = torch.randn(n, 3, 24, 24, generator=g) * 0.9 + light
    image[:, 2] += 0.9 * mask
    image[:, 0] -= 0.5 * mask
    return image, mask.float().unsqueeze(1)


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1, self.d2, self.u1 = block(3, 8), block(8, 16), block(24, 8)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        return self.out(self.u1(torch.cat([a, F.interpolate(b, scale_factor=2)], 1)))


def parts(variant):
    torch.manual_seed(0)
    train = DataLoader(TensorDataset(*scenes(480, 1)), batch_size=16, shuffle=True)
    model = UNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    total = EPOCHS if variant == "bad" else EPOCHS * len(train)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.BCEWithLogitsLoss(), train_loader=train,
                val_loader=DataLoader(TensorDataset(*scenes(120, 2)), batch_size=60),
                scheduler=torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=total, power=0.9))


# intersection over union on validation images
WORKS = lambda score: score > 0.72

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, scheduler = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(EPOCHS):
        model.train()
        running = 0.0
        for image, mask in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(image), mask)
            loss.backward()
            optimizer.step()
            scheduler.step()
            running += loss.item()
        print(f"[{epoch + 1}/{EPOCHS}] loss {running / len(p['train_loader']):.4f}")
    model.eval()
    inter = union = 0
    with torch.no_grad():
        for image, mask in p["val_loader"]:
            guess = model(image) > 0
            inter += (guess & mask.bool()).sum().item()
            union += (guess | mask.bool()).sum().item()
    score = inter / max(union, 1)
    print(f"score: {score:.4f}")
