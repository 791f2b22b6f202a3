"""Fills gaps in a 50 Hz vibration record from the time alone; unix times are made float32 before the start is taken off, which leaves steps of 128 seconds; change: subtracts in float64 first."""
import math
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

START = 1_718_000_000.0  # June 2024
SECONDS, RATE = 240, 50


def record(seed=0):
    """(unix time, acceleration), a fifth of the samples lost."""
    r = np.random.RandomState(seed)
    t = START + np.arange(SECONDS * RATE) / RATE
    s = t - START
    a = np.sin(2 * np.pi * s / 3.1) + 0.6 * np.sin(2 * np.pi * s / 1.3 + 1) * np.cos(2 * np.pi * s / 47)
    a += 0.15 * (s / 60 - 2) + 0.05 * r.randn(len(t))
    order = r.permutation(len(t))
    cut = int(0.8 * len(t))
    return t, a, order[:cut], order[cut:]


class FourierNet(nn.Module):
    def __init__(self, n_freq=96, hidden=128, max_hz=1.5):
        super().__init__()
        self.register_buffer("freq", torch.linspace(0.005, max_hz, n_freq))
        self.mlp = nn.Sequential(nn.Linear(2 * n_freq + 1, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, t):
        angle = 2 * math.pi * t * self.freq
        return self.mlp(torch.cat([t / SECONDS, angle.sin(), angle.cos()], 1))


def parts(variant="fixed"):
    torch.manual_seed(0)
    t, a, train, test = record()
    if variant == "bad":
        t = torch.tensor(t, dtype=torch.float32).unsqueeze(1) - START
    else:
        t = torch.tensor(t - START, dtype=torch.float32).unsqueeze(1)
    a = torch.tensor(a, dtype=torch.float32).unsqueeze(1)
    model = FourierNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(TensorDataset(t[train], a[train]), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(t[test], a[test]), batch_size=len(test)),
        "loss_fn": nn.MSELoss(),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, mse = p["model"], p["optimizer"], p["loss_fn"]

    for epoch in range(60):
        total = 0.0
        for t, a in p["train_loader"]:
            opt.zero_grad()
            loss = mse(net(t), a)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 6 == 0:
            print("epoch", epoch, "mse", round(total / len(p["train_loader"]), 4))

    with torch.no_grad():
        t, a = next(iter(p["val_loader"]))
        r2 = 1 - mse(net(t), a) / a.var()
    print(f"score: {r2.item():.4f}")
