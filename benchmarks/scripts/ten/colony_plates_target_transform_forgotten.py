"""Bacteria per millilitre from a photo of a plate by a CNN, AdamW and one-cycle; the Dataset has a transform for the image but target_transform is left None, so the targets are counts of up to 10^8 and the output cannot get there; change: a target_transform that standardises."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SIZE, DILUTION = 24, 2.5e6


class Plates(Dataset):
    def __init__(self, n, seed, transform=None, target_transform=None):
        g = torch.Generator().manual_seed(seed)
        count = torch.randint(2, 41, (n,), generator=g)
        spots = torch.zeros(n, SIZE, SIZE)
        pos = torch.randint(2, SIZE - 2, (n, 40, 2), generator=g)
        for i in range(n):
            spots[i].index_put_(tuple(pos[i, :count[i]].T), torch.tensor(1.0), accumulate=True)
        blur = torch.tensor([[0.3, 0.6, 0.3], [0.6, 1.0, 0.6], [0.3, 0.6, 0.3]])[None, None]
        img = nn.functional.conv2d(spots[:, None], blur, padding=1)
        self.img = 60 + 70 * img.clamp(max=2.5) + 6 * torch.randn(n, 1, SIZE, SIZE, generator=g)
        self.cfu = (count.float() * DILUTION)[:, None]
        self.transform, self.target_transform = transform, target_transform

    def __len__(self):
        return len(self.cfu)

    def __getitem__(self, i):
        img, cfu = self.img[i], self.cfu[i]
        if self.transform is not None:
            img = self.transform(img)
        if self.target_transform is not None:
            cfu = self.target_transform(cfu)
        return img, cfu


class CountNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(0.1), nn.AvgPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.LeakyReLU(0.1), nn.AvgPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.LeakyReLU(0.1), nn.AdaptiveAvgPool2d(3),
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 9, 32), nn.LeakyReLU(0.1), nn.Linear(32, 1))

    def forward(self, x):
        return self.head(self.features(x))


def r2(output, target):
    return (1 - (output - target).square().mean() / target.var()).item()


EPOCHS = 8


def parts(variant):
    torch.manual_seed(0)
    normalise = lambda img: (img - 110.0) / 65.0
    standardise = lambda cfu: (cfu - 21 * DILUTION) / (11.3 * DILUTION)
    target_transform = None if variant == "bad" else standardise
    train = Plates(1280, 1, normalise, target_transform)
    val = Plates(320, 2, normalise, target_transform)
    model = CountNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=EPOCHS * 40),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(train, batch_size=32, shuffle=True),
        "val_loader": DataLoader(val, batch_size=80),
        "metric": r2,
    }


def validate(model, loader):
    model.eval()
    with torch.no_grad():
        out, ref = zip(*[(model(img), cfu) for img, cfu in loader])
    model.train()
    return r2(torch.cat(out), torch.cat(ref))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, sched = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(EPOCHS):
        for img, cfu in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(img), cfu)
            loss.backward()
            opt.step()
            sched.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4g}, validation R2 {validate(net, p['val_loader']):.3f}")
    value = validate(net, p["val_loader"])
    print(f"score: {value:.4f}")
