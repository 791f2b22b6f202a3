"""Bearing of the wind from eight pressure taps around a church tower. The bearing is an angle from 0 to 2 pi and the loss is the plain squared difference, for which 359 and 1 degree are far apart, so winds near north are given as anything in between; the right change: a loss on the circle, 1 - cos(difference)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class TowerDataset(Dataset):
    """pressure coefficients at eight taps, averaged over a minute; northerlies prevail at this place"""

    def __init__(self, minutes, seed):
        rng = np.random.default_rng(seed)
        north = rng.random(minutes) < 0.6
        bearing = np.where(north, rng.vonmises(0.0, 3.0, minutes), rng.uniform(-np.pi, np.pi, minutes)) % (2 * np.pi)
        speed = rng.gamma(6.0, 1.2, minutes)
        taps = np.arange(8) * np.pi / 4
        diff = bearing[:, None] - taps[None]
        cp = np.where(np.cos(diff) > 0, np.cos(diff) ** 2, -0.35 + 0.1 * np.cos(2 * diff))
        cp = cp + rng.normal(0, 0.05, cp.shape) * (1 + 2 / speed[:, None])
        self.x = torch.tensor(np.column_stack([cp, speed / 10]), dtype=torch.float32)
        self.bearing = torch.tensor(bearing, dtype=torch.float32)

    def __len__(self):
        return len(self.bearing)

    def __getitem__(self, i):
        return self.x[i], self.bearing[i]


class BearingNet(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(9, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, 2))

    def forward(self, x):
        east, north = self.layers(x).unbind(-1)
        return torch.atan2(east, north) % (2 * torch.pi)


def squared_difference(pred, bearing):
    return ((pred - bearing) ** 2).mean()


def on_the_circle(pred, bearing):
    return (1 - torch.cos(pred - bearing)).mean()


def degrees_off(pred, bearing):
    d = torch.remainder(pred - bearing + torch.pi, 2 * torch.pi) - torch.pi
    return torch.rad2deg(d.abs()).mean().item()


def parts(variant, seed=0):
    torch.manual_seed(seed)
    model = BearingNet()
    return dict(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
        loss_fn=squared_difference if variant == "bad" else on_the_circle,
        metric=degrees_off,
        train_loader=DataLoader(TowerDataset(4000, 21), batch_size=64, shuffle=True),
        val_loader=DataLoader(TowerDataset(800, 22), batch_size=200),
    )


WORKS = lambda score: score < 3.3

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(25):
        model.train()
        losses = []
        for x, bearing in p["train_loader"]:
            loss = p["loss_fn"](model(x), bearing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            off = np.mean([p["metric"](model(x), b) for x, b in p["val_loader"]])
        if epoch % 4 == 0:
            print(f"{epoch:2d}: loss {np.mean(losses):.4f}  val {off:.1f} degrees off")
    print("score:", float(off))
