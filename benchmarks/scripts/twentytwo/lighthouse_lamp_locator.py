"""CNN that finds the lamp in night pictures and gives its two coordinates; the head is copied from a classifier and averages every feature map over the whole picture, which throws away where the lamp is; the right change: keep a coarse grid (AdaptiveAvgPool2d(8) and Flatten) before the linear layers."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE = 48


class NightPictures(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[0:SIZE, 0:SIZE]
        self.xy = rng.uniform(5, SIZE - 5, (n, 2))
        self.imgs = rng.normal(0, 0.15, (n, 1, SIZE, SIZE)).astype(np.float32)
        for i, (cx, cy) in enumerate(self.xy):
            r = np.hypot(xx - cx, yy - cy)
            self.imgs[i, 0] += np.exp(-((r - 3) / 1.0) ** 2)          # halo of the lamp
            for _ in range(3):                                       # stars and windows
                sx, sy = rng.uniform(2, SIZE - 2, 2)
                self.imgs[i, 0] += 0.8 * np.exp(-((xx - sx) ** 2 + (yy - sy) ** 2) / 3)

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        return torch.from_numpy(self.imgs[i]), torch.tensor(self.xy[i] / SIZE * 2 - 1, dtype=torch.float32)


def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())


class Locator(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.backbone = nn.Sequential(conv(1, 8), nn.MaxPool2d(2), conv(8, 16), nn.MaxPool2d(2), conv(16, 16))
        self.pool = nn.AdaptiveAvgPool2d(pool)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(16 * pool * pool, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x):
        return self.head(self.pool(self.backbone(x)))


def hit_rate(out, target, pixels=3):
    return ((out - target).norm(dim=1) * SIZE / 2 < pixels).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = Locator(pool=1 if variant == "bad" else 8)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.SmoothL1Loss(),
            "train_loader": DataLoader(NightPictures(1600, 0), batch_size=32, shuffle=True),
            "val_loader": DataLoader(NightPictures(300, 1), batch_size=300), "metric": hit_rate}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(16):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = crit(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hits = np.mean([hit_rate(model(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f} within 3 px {hits:.3f}")
    print("score:", hits)
