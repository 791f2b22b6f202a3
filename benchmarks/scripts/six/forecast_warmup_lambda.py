"""Dilated convolutions forecast a noisy seasonal series; the LambdaLR function returns the rate itself although the scheduler multiplies the base rate with it; change: return the factor only."""
import math
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

LOOKBACK, HORIZON, EPOCHS, BATCH, LR = 48, 12, 6, 32, 2e-3
WORKS = lambda r2: r2 > 0.75


def series(n=4000, seed=5):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    s = np.sin(2 * np.pi * t / 24) + 0.6 * np.sin(2 * np.pi * t / 37 + 1) * np.cos(2 * np.pi * t / 300)
    return (s + 0.15 * rng.standard_normal(n)).astype(np.float32)


class Windows(Dataset):
    def __init__(self, values):
        self.v = torch.from_numpy(values)

    def __len__(self):
        return len(self.v) - LOOKBACK - HORIZON + 1

    def __getitem__(self, i):
        w = self.v[i:i + LOOKBACK + HORIZON]
        return w[:LOOKBACK].unsqueeze(0), w[LOOKBACK:]


class TCN(nn.Module):
    def __init__(self, ch=24):
        super().__init__()
        self.inp = nn.Conv1d(1, ch, 1)
        self.convs = nn.ModuleList(nn.Conv1d(ch, ch, 3, dilation=2 ** i) for i in range(4))
        self.out = nn.Linear(ch, HORIZON)

    def forward(self, x):
        h = self.inp(x)
        for i, conv in enumerate(self.convs):
            h = h + torch.relu(conv(nn.functional.pad(h, (2 * 2 ** i, 0))))
        return self.out(h[..., -1])


def parts(variant="fixed"):
    torch.manual_seed(0)
    v = series()
    mean, std = v[:3200].mean(), v[:3200].std()
    v = (v - mean) / std
    train = DataLoader(Windows(v[:3200]), BATCH, shuffle=True, drop_last=True)
    val = DataLoader(Windows(v[3200:]), 256)
    model = TCN()
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    total, warmup = EPOCHS * len(train), 50

    def rate(step):
        if step < warmup:
            factor = (step + 1) / warmup
        else:
            factor = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / (total - warmup))))
        return LR * factor if variant == "bad" else factor

    return {"model": model, "optimizer": optimizer, "scheduler": LambdaLR(optimizer, rate),
            "train_loader": train, "val_loader": val, "loss_fn": nn.SmoothL1Loss()}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, scheduler = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(EPOCHS):
        model.train()
        for i, (x, y) in enumerate(p["train_loader"]):
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            if i % 45 == 0:
                print(f"epoch {epoch} step {i:3d} loss {loss.item():.4f}")
        model.eval()
        with torch.no_grad():
            pred, true = zip(*[(model(x), y) for x, y in p["val_loader"]])
        pred, true = torch.cat(pred), torch.cat(true)
        r2 = 1 - ((pred - true) ** 2).sum() / ((true - true.mean()) ** 2).sum()
        print(f"epoch {epoch} val R2 {r2.item():.3f}")
    print("score:", round(r2.item(), 4))
