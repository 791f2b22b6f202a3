"""GRU that forecasts the load of a power line, with a weight per example in a hand-written loss; bad: the output is (N, 1), target and weight are (N,), so the difference is N x N; change: the output is squeezed to (N,)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 24


def series(n=2400):
    rng = np.random.default_rng(7)
    t = np.arange(n)
    load = np.sin(2 * np.pi * t / 24) + 0.6 * np.sin(2 * np.pi * t / 84 + 1) + 0.15 * rng.standard_normal(n)
    return load.astype(np.float32)


def windows(load):
    x = np.stack([load[i:i + WINDOW] for i in range(len(load) - WINDOW)])[:, :, None]
    y = load[WINDOW:]
    w = np.linspace(0.5, 1.5, len(y), dtype=np.float32)  # recent hours count more
    return torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(w)


class LoadForecaster(nn.Module):
    def __init__(self, flat):
        super().__init__()
        self.gru = nn.GRU(1, 32, batch_first=True)
        self.out = nn.Linear(32, 1)
        self.flat = flat

    def forward(self, x):
        _, h = self.gru(x)
        y = self.out(h[-1])
        return y.squeeze(1) if self.flat else y


def training_step(model, batch):
    x, y, w = batch
    pred = model(x)
    return (w * (pred - y) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    x, y, w = windows(series())
    cut = 1900
    model = LoadForecaster(flat=variant == "fixed")
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(x[:cut], y[:cut], w[:cut]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[cut:], y[cut:], w[cut:]), batch_size=64)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} weighted loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        preds = torch.cat([model(x).flatten() for x, _, _ in p["val_loader"]])
    ys = p["val_loader"].dataset.tensors[1]
    score = 1 - ((preds - ys) ** 2).mean().item() / ys.var().item()
    print(f"score: {score:.4f}")
