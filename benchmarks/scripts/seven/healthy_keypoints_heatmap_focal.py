"""Healthy: finds blob centres by a heatmap with the CenterNet focal loss; nearly all pixels are negative, the bias starts at -4.6 and the loss starts large and is normalised by the number of points; no mistake."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

S = 32


def cells(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:S, 0:S]
    images, heat = np.zeros((n, 1, S, S), np.float32), np.zeros((n, 1, S, S), np.float32)
    for k in range(n):
        images[k, 0] = rng.normal(0, 0.12, (S, S))
        for _ in range(rng.integers(1, 4)):
            cy, cx = rng.integers(3, S - 3, 2)
            radius = rng.uniform(1.5, 2.6)
            d2 = (yy - cy) ** 2 + (xx - cx) ** 2
            images[k, 0] += rng.uniform(0.6, 1.2) * np.exp(-d2 / (2 * radius ** 2))
            heat[k, 0] = np.maximum(heat[k, 0], np.exp(-d2 / 2.0))
        for _ in range(2):  # scratches
            row = rng.integers(0, S)
            images[k, 0, row, :] += rng.uniform(0.3, 0.7)
    return torch.from_numpy(images), torch.from_numpy(heat)


class HeatmapNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        self.enc1 = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.GroupNorm(4, c), nn.ReLU())
        self.enc2 = nn.Sequential(nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.GroupNorm(4, 2 * c), nn.ReLU(),
                                  nn.Conv2d(2 * c, 2 * c, 3, padding=1), nn.GroupNorm(4, 2 * c), nn.ReLU())
        self.dec = nn.Sequential(nn.Conv2d(3 * c, c, 3, padding=1), nn.ReLU())
        self.out = nn.Conv2d(c, 1, 1)
        nn.init.constant_(self.out.bias, -4.6)

    def forward(self, x):
        a = self.enc1(x)
        b = F.interpolate(self.enc2(a), scale_factor=2, mode="nearest")
        return self.out(self.dec(torch.cat([a, b], 1)))


def focal_loss(logits, heat):
    positive = heat.eq(1).float()
    log_p, log_not = F.logsigmoid(logits), F.logsigmoid(-logits)
    p = logits.sigmoid()
    pos = (log_p * (1 - p) ** 2 * positive).sum()
    neg = (log_not * p ** 2 * (1 - heat) ** 4 * (1 - positive)).sum()
    return -(pos + neg) / positive.sum().clamp(min=1)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = HeatmapNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(TensorDataset(*cells(400, 0)), batch_size=16, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*cells(100, 1)), batch_size=50),
        "loss_fn": focal_loss,
    }


def f1(logits, heat):
    peaks = (F.max_pool2d(logits, 3, 1, 1) == logits) & (logits.sigmoid() > 0.3)
    true = heat.eq(1)
    near = lambda m: F.max_pool2d(m.float(), 3, 1, 1).bool()
    precision = (peaks & near(true)).sum() / peaks.sum().clamp(min=1)
    recall = (true & near(peaks)).sum() / true.sum()
    return (2 * precision * recall / (precision + recall).clamp(min=1e-6)).item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for image, heat in p["train_loader"]:
            loss = focal_loss(model(image), heat)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = f1(*(torch.cat(t) for t in zip(*[(model(x), h) for x, h in p["val_loader"]])))
        print(f"epoch {epoch + 1}: focal {total / len(p['train_loader']):.3f}  val F1 {score:.3f}")
    print(f"score: {score:.4f}")
