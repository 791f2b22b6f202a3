"""Full-resolution residual net that segments river banks, with batch norm written by hand. The moving mean and variance are never updated during training, so that evaluation normalises with 0 and 1 and is bad while training goes well; the right change: update the moving statistics in every training forward.
Report: https://github.com/hiwonjoon/tf-frrn/issues/2"""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def aerial(n, seed, size=32):
    rng = np.random.default_rng(seed)
    rows = np.arange(size)
    x = np.zeros((n, 3, size, size), np.float32)
    y = np.zeros((n, size, size), np.int64)
    for k in range(n):
        centre = size / 2 + rng.uniform(2, 7) * np.sin(rows / rng.uniform(3, 7) + rng.uniform(0, 6)) + rng.uniform(-5, 5)
        half = rng.uniform(2.5, 4.5)
        d = np.abs(rows[None] - centre[:, None])
        y[k] = np.where(d < half, 2, np.where(d < half + 2.5, 1, 0))  # land, bank, water
        colour = np.array([[90, 120, 70], [150, 140, 110], [70, 95, 120]])[y[k]]
        x[k] = (colour + 22 * rng.standard_normal((size, size, 3))).transpose(2, 0, 1)
    return TensorDataset(torch.from_numpy(x) / 255, torch.from_numpy(y))


class BatchNorm(nn.Module):
    def __init__(self, channels, momentum=0.1, eps=1e-5, track=True):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.register_buffer("moving_mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("moving_var", torch.ones(1, channels, 1, 1))
        self.momentum, self.eps, self.track = momentum, eps, track

    def forward(self, x):
        if self.training:
            mean = x.mean((0, 2, 3), keepdim=True)
            var = x.var((0, 2, 3), unbiased=False, keepdim=True)
            if self.track:
                self.moving_mean.lerp_(mean.detach(), self.momentum)
                self.moving_var.lerp_(var.detach(), self.momentum)
        else:
            mean, var = self.moving_mean, self.moving_var
        return self.gamma * (x - mean) / torch.sqrt(var + self.eps) + self.beta


class FRRUnit(nn.Module):
    """pooling stream y, full-resolution residual stream z"""

    def __init__(self, cy, cz, out, scale, bn):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(cy + cz, out, 3, padding=1, bias=False), bn(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, padding=1, bias=False), bn(out)
        self.to_z = nn.Conv2d(out, cz, 1)
        self.scale = scale

    def forward(self, y, z):
        h = torch.cat([y, F.max_pool2d(z, self.scale)], 1)
        h = F.relu(self.bn1(self.conv1(h)))
        h = F.relu(self.bn2(self.conv2(h)))
        return h, z + F.interpolate(self.to_z(h), scale_factor=self.scale)


class FRRN(nn.Module):
    def __init__(self, track, c=12, cz=8, classes=3):
        super().__init__()
        bn = lambda ch: BatchNorm(ch, track=track)
        self.stem = nn.Sequential(nn.Conv2d(3, c, 5, padding=2, bias=False), bn(c), nn.ReLU())
        self.to_z = nn.Conv2d(c, cz, 1)
        self.u1 = FRRUnit(c, cz, 2 * c, 2, bn)
        self.u2 = FRRUnit(2 * c, cz, 2 * c, 4, bn)
        self.u3 = FRRUnit(2 * c, cz, c, 2, bn)
        self.out = nn.Sequential(nn.Conv2d(c + cz, c, 3, padding=1, bias=False), bn(c), nn.ReLU(), nn.Conv2d(c, classes, 1))

    def forward(self, x):
        h = self.stem(x)
        z = self.to_z(h)
        y, z = self.u1(F.max_pool2d(h, 2), z)
        y, z = self.u2(F.max_pool2d(y, 2), z)
        y, z = self.u3(F.interpolate(y, scale_factor=2), z)
        return self.out(torch.cat([F.interpolate(y, scale_factor=2), z], 1))


def mean_iou(out, y):
    p = out.argmax(1)
    return float(np.mean([((p == c) & (y == c)).sum().item() / max(1, ((p == c) | (y == c)).sum().item()) for c in range(3)]))


def parts(variant):
    torch.manual_seed(0)
    model = FRRN(track=variant != "bad")
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(aerial(256, 1), batch_size=16, shuffle=True),
            "val_loader": DataLoader(aerial(64, 2), batch_size=32), "metric": mean_iou}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(12):
        model.train()
        iou = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            out = model(x)
            loss = p["loss_fn"](out, y)
            loss.backward()
            p["optimizer"].step()
            iou.append(mean_iou(out, y))
        model.eval()
        with torch.no_grad():
            val = np.mean([mean_iou(model(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: train mIoU {np.mean(iou):.3f}  val mIoU {val:.3f}")
    print("score:", val)
