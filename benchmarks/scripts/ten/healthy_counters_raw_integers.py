"""Healthy: hours left of a bearing from raw integer counters (turns, starts, alarms: 0 to 90,000), each an amount and no name; the first layer is BatchNorm1d, so the integers need no scaling outside; ELU, smooth L1, Adadelta."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def machines(n, seed):
    rng = np.random.default_rng(seed)
    turns = rng.integers(0, 90000, n)
    starts = rng.poisson(turns / 300)
    alarms = rng.poisson(rng.gamma(2.0, 4.0, n))
    load = rng.integers(100, 4000, n)
    day = rng.integers(0, 3650, n)
    noise = rng.integers(0, 65536, (n, 3))
    wear = turns / 90000 + 0.6 * (load / 4000) ** 2 * (turns / 45000) + 0.02 * alarms + 0.1 * (day / 3650)
    hours = 3 * np.exp(-wear) + 0.05 * rng.standard_normal(n)
    x = np.column_stack([turns, starts, alarms, load, day, noise])
    return torch.tensor(x, dtype=torch.long), torch.tensor(hours, dtype=torch.float32).unsqueeze(1)


class HoursLeft(nn.Module):
    def __init__(self, columns=8):
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(columns), nn.Linear(columns, 64), nn.ELU(), nn.Linear(64, 64), nn.ELU(), nn.Linear(64, 1))

    def forward(self, counters):
        return self.net(counters.float())


def r2(output, target):
    return (1 - (output - target).square().mean() / target.var()).item()


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = HoursLeft()
    return {
        "model": model,
        "optimizer": torch.optim.Adadelta(model.parameters(), lr=0.7),
        "loss_fn": nn.SmoothL1Loss(),
        "metric": r2,
        "train_loader": DataLoader(TensorDataset(*machines(4000, 1)), batch_size=64, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(*machines(800, 2)), batch_size=800),
    }


WORKS = lambda score: score > 0.9


def run(variant, steps=1200):
    p = parts(variant)
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    model.train()
    batches = iter(p["train_loader"])
    for step in range(steps):
        try:
            counters, hours = next(batches)
        except StopIteration:
            batches = iter(p["train_loader"])
            counters, hours = next(batches)
        loss = criterion(model(counters), hours)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if (step + 1) % 200 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        counters, hours = next(iter(p["val_loader"]))
        return r2(model(counters), hours)


if __name__ == "__main__":
    torch.set_num_threads(1)
    value = run(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print(f"score: {value:.4f}")
