"""Healthy: a 32-block residual net whose residual gates start at zero (ReZero), so most parameters have no gradient in the first step; learns well; no mistake."""
import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DEPTH, WIDTH, LENGTH = 32, 48, 40


def motion(n, seed):
    """Two-channel traces: label is which channel leads and whether the tempo rises."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    t = np.linspace(0, 1, LENGTH)
    rising, first = y % 2, y // 2
    speed = rng.uniform(2, 3, n)[:, None]
    phase = 2 * np.pi * speed * (t + np.where(rising, 0.35, -0.35)[:, None] * t ** 2) + rng.uniform(0, 6.28, (n, 1))
    lag = np.where(first, 0.9, -0.9)[:, None]
    x = np.stack([np.sin(phase), np.sin(phase + lag)], 1) + rng.normal(0, 0.15, (n, 2, LENGTH))
    return torch.tensor(x.reshape(n, -1), dtype=torch.float32), torch.tensor(y)


class ReZeroBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.alpha * self.inner(x)


class DeepNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(2 * LENGTH, WIDTH)
        self.blocks = nn.Sequential(*[ReZeroBlock(WIDTH) for _ in range(DEPTH)])
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = DeepNet()
    gates = [q for name, q in model.named_parameters() if name.endswith("alpha")]
    rest = [q for name, q in model.named_parameters() if not name.endswith("alpha")]
    return {
        "model": model,
        "optimizer": torch.optim.Adam([{"params": rest, "lr": 5e-4}, {"params": gates, "lr": 2e-3}]),
        "train_loader": DataLoader(TensorDataset(*motion(4000, 0)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*motion(800, 1)), batch_size=200),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed")
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    p = parts(args.variant)
    model = p["model"]
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](model(x), y).item() for x, y in p["val_loader"]])
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f} val acc {acc:.4f}")
    print(f"score: {acc:.4f}")
