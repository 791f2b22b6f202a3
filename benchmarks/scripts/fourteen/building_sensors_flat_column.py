"""Fault diagnosis of air handlers from 20 sensor columns, two of which never moved while the training rows were logged; bad: the columns are divided by their standard deviation, 0/0 makes nan of the two columns and the loss is nan from the first batch; change: a column with no spread is divided by one, as StandardScaler does."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FAULTS = ["none", "stuck damper", "leaking valve", "fouled coil"]


def log_book(n, seed):
    rng = np.random.RandomState(seed)
    fault = rng.randint(0, 4, n)
    outside = rng.normal(10, 8, n)
    load = rng.uniform(0.2, 1.0, n)
    damper = np.where(fault == 1, 30.0, 20 + 60 * load) + rng.randn(n) * 2
    valve = 100 * load * (1 - np.clip(outside, 0, 25) / 40) + np.where(fault == 2, 12, 0) + rng.randn(n) * 3
    supply = 18 - 4 * load + np.where(fault == 2, -2.0, 0) + np.where(fault == 3, 1.8, 0) + rng.randn(n) * 0.6
    pressure = 250 + 200 * load ** 2 + np.where(fault == 3, 90, 0) + rng.randn(n) * 15
    room = 21 + 2 * (supply - 16) / 10 + rng.randn(n) * 0.4
    fan = 1400 * load + np.where(fault == 3, 120, 0) + rng.randn(n) * 40
    table = np.stack([outside, load * 100, damper, valve, supply, pressure, room, fan], 1)
    others = rng.randn(n, 10) * rng.uniform(0.5, 50, 10) + rng.uniform(-20, 200, 10)
    table = np.concatenate([table, others, np.zeros((n, 1)), np.full((n, 1), 55.0)], 1)
    return table.astype(np.float32), fault


class Standardise:
    def __init__(self, keep_flat):
        self.keep_flat = keep_flat

    def fit(self, table):
        self.mean = table.mean(axis=0)
        self.std = table.std(axis=0)
        if self.keep_flat:
            self.std[self.std == 0] = 1.0
        return self

    def transform(self, table):
        with np.errstate(all="ignore"):
            return (table - self.mean) / self.std


def parts(variant):
    torch.manual_seed(0)
    rows, fault = log_book(3600, 1)
    scaler = Standardise(keep_flat=variant != "bad").fit(rows[:3000])
    x, y = torch.tensor(scaler.transform(rows)), torch.tensor(fault)
    model = nn.Sequential(nn.Linear(20, 64), nn.LeakyReLU(), nn.Dropout(0.1), nn.Linear(64, 32), nn.LeakyReLU(), nn.Linear(32, 4))
    return dict(model=model, optimizer=torch.optim.RMSprop(model.parameters(), lr=1e-3), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(x[:3000], y[:3000]), batch_size=50, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[3000:], y[3000:]), batch_size=200))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    epochs = 15
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"{epoch}/{epochs} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]])
    print(f"score: {right.float().mean().item():.4f}")
