"""Classifies synthetic heartbeats with a 1D ResNet, warmup and inverse-root decay by LambdaLR; mistake: the lambda returns the rate itself, and LambdaLR multiplies it with the base rate (2e-3 squared); change: the lambda returns the factor."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CLASSES, LENGTH = 5, 96


def beat(kind, rng):
    t = np.linspace(0, 1, LENGTH)
    bump = lambda c, w, a: a * np.exp(-((t - c) ** 2) / (2 * w * w))
    shift = rng.normal(0, 0.04)
    width = 0.05 if kind == 1 else 0.022
    x = bump(0.45 + shift, width, 1.0) - bump(0.49 + shift, 0.02, 0.25)
    if kind != 2:
        x += bump(0.28 + shift, 0.03, 0.25)
    x += bump(0.72 + shift, 0.06, -0.3 if kind == 3 else 0.35)
    if kind == 4:
        x += bump(0.58 + shift, 0.02, 0.3)
    x = x * rng.uniform(0.8, 1.2) + 0.15 * np.sin(2 * np.pi * (t * rng.uniform(0.3, 1) + rng.random()))
    return x + rng.normal(0, 0.07, LENGTH)


def dataset(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    x = np.stack([beat(k, rng) for k in y]).astype(np.float32)
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    return TensorDataset(torch.from_numpy(x).unsqueeze(1), torch.from_numpy(y))


class ResBlock(nn.Module):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(cin, cout, 7, stride, 3, bias=False), nn.BatchNorm1d(cout)
        self.conv2, self.bn2 = nn.Conv1d(cout, cout, 7, 1, 3, bias=False), nn.BatchNorm1d(cout)
        self.skip = nn.Conv1d(cin, cout, 1, stride)

    def forward(self, x):
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.skip(x))


class HeartNet(nn.Sequential):
    def __init__(self):
        super().__init__(ResBlock(1, 16, 2), ResBlock(16, 24, 2), ResBlock(24, 32, 2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, CLASSES))


def parts(variant="fixed", lr=2e-3, warmup=40):
    torch.manual_seed(0)
    model = HeartNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)

    def noam(step):
        factor = min((step + 1) / warmup, (warmup / (step + 1)) ** 0.5)
        return factor if variant == "fixed" else lr * factor

    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, noam),
        "train_loader": DataLoader(dataset(2000, 0), batch_size=50, shuffle=True),
        "val_loader": DataLoader(dataset(500, 1), batch_size=100),
        "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed", choices=["bad", "fixed"])
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    p = parts(args.variant)
    model = p["model"]
    for epoch in range(args.epochs):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = float(np.mean([p["metric"](model(x), y).item() for x, y in p["val_loader"]]))
        print(f"epoch {epoch + 1} loss {np.mean(losses):.4f} val acc {acc:.4f}")
    print(f"score: {acc:.4f}")
