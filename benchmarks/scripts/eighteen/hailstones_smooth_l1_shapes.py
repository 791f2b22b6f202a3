"""Regression of the hailstone diameter from six radar features; the targets stay a flat vector while the network gives a column, so the loss compares every prediction with every target. change: the targets get a column axis."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def radar_table(n=2400):
    rng = np.random.default_rng(3)
    f = rng.normal(size=(n, 6)).astype("float32")
    diameter = 12 + 5 * np.tanh(f[:, 0] + 0.5 * f[:, 1]) + 3 * f[:, 2] * (f[:, 3] > 0) + rng.normal(0, 0.8, n)
    return f, diameter.astype("float32")


def parts(variant):
    torch.manual_seed(0)
    f, d = radar_table()
    d = (d - d[:2000].mean()) / d[:2000].std()
    x, y = torch.from_numpy(f), torch.from_numpy(d)
    if variant == "fixed":
        y = y.unsqueeze(1)
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.SmoothL1Loss(),
            "train_loader": DataLoader(TensorDataset(x[:2000], y[:2000]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[2000:], y[2000:]), batch_size=100)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    import warnings
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(30):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(x).flatten() for x, _ in p["val_loader"]])
        true = torch.cat([y.flatten() for _, y in p["val_loader"]])
    score = 1 - ((pred - true) ** 2).mean().item() / true.var().item()
    print(f"score: {score:.4f}")
