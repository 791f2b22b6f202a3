"""Curling: from the release of a stone (speed, spin, sweeping, ice) the network gives the mean and the standard deviation of the place where it stops, trained by the Gaussian likelihood; the score is the share of held-out stones inside the 90 % interval. GaussianNLLLoss takes the variance as third argument and is handed the standard deviation, so the network learns intervals far too narrow; the right change: nll(mean, y, std ** 2)."""
import sys
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


@dataclass
class Config:
    stones: int = 4000
    held_out: int = 1000
    hidden: int = 48
    lr: float = 3e-3
    batch: int = 100
    epochs: int = 25


def throw(n, rng):
    speed = rng.normal(0, 1, n)
    spin = rng.uniform(-1, 1, n)
    sweep = rng.beta(2, 3, n)
    pebble = rng.normal(0, 1, n)
    humidity = rng.uniform(0, 1, n)
    stop = 0.8 * speed + 0.5 * sweep * (1 - 0.3 * pebble) - 0.25 * spin ** 2 + 0.2 * np.sin(2 * pebble)
    sigma = 0.05 + 0.12 * humidity + 0.08 * (1 - sweep) * (np.abs(spin) > 0.5)
    stop = stop + sigma * rng.normal(size=n)
    x = np.stack([speed, spin, sweep, pebble, humidity], 1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(stop, dtype=torch.float32)


class StoneNet(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.mean = nn.Linear(hidden, 1)
        self.spread = nn.Linear(hidden, 1)

    def forward(self, x):
        h = self.body(x)
        std = F.softplus(self.spread(h)) + 1e-3
        return self.mean(h).squeeze(-1), std.squeeze(-1)


nll = nn.GaussianNLLLoss()


def loss_of_std(outputs, y):
    mean, std = outputs
    return nll(mean, y, std)


def loss_of_variance(outputs, y):
    mean, std = outputs
    return nll(mean, y, std ** 2)


def inside_90(outputs, y):
    mean, std = outputs
    return ((y - mean).abs() < 1.645 * std).float().mean()


def parts(variant, cfg=Config()):
    torch.manual_seed(11)
    x, y = throw(cfg.stones, np.random.default_rng(11))
    k = cfg.stones - cfg.held_out
    model = StoneNet(cfg.hidden)
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=cfg.lr),
            "loss_fn": loss_of_std if variant == "bad" else loss_of_variance,
            "train_loader": DataLoader(TensorDataset(x[:k], y[:k]), batch_size=cfg.batch, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[k:], y[k:]), batch_size=500),
            "metric": inside_90}


WORKS = lambda score: 0.82 < score < 0.97

if __name__ == "__main__":
    cfg = Config()
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", cfg)
    model, optimizer = p["model"], p["optimizer"]
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.93)
    for epoch in range(cfg.epochs):
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        print(f"epoch {epoch:2d}  loss {loss.item():.3f}")
    with torch.no_grad():
        shares = [p["metric"](model(x), y).item() for x, y in p["val_loader"]]
    print("score:", sum(shares) / len(shares))
