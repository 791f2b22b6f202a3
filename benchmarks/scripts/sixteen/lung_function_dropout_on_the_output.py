"""MLP that predicts lung volume (litres) from body measures; bad has a Dropout after the last linear layer, on the predicted number itself; change: no dropout after the output layer."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def visits(n=1800, seed=2):
    rng = np.random.default_rng(seed)
    height = rng.normal(170, 10, n)
    age = rng.uniform(18, 85, n)
    weight = 22 * (height / 100) ** 2 + rng.normal(8, 10, n)
    sex = rng.integers(0, 2, n)
    smoker = rng.random(n) < 0.25
    years = np.where(smoker, rng.uniform(0, 40, n), 0)
    fvc = (0.052 * (height - 170) - 0.026 * (age - 40) + 0.9 * sex + 3.9
           - 0.02 * years - 0.0015 * np.abs(weight - 70) * (age > 50) + rng.normal(0, 0.3, n))
    x = np.stack([height, age, weight, sex, smoker, years], 1)
    x = (x - x.mean(0)) / x.std(0)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(fvc[:, None], dtype=torch.float32)


def mlp(sizes, p_drop, last_block_plain):
    layers = []
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
        last = i == len(sizes) - 2
        layers.append(nn.Linear(a, b))
        if not last:
            layers.append(nn.ReLU())
        if not (last and last_block_plain):
            layers.append(nn.Dropout(p_drop))
    return nn.Sequential(*layers)


def parts(variant):
    torch.manual_seed(0)
    x, y = visits()
    model = mlp([6, 128, 64, 1], 0.4, last_block_plain=variant != "bad")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=35, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=400)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        model.train()
        running = []
        for xb, yb in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(xb), yb)
            loss.backward()
            p["optimizer"].step()
            running.append(loss.item())
        model.eval()
        with torch.no_grad():
            xb, yb = next(iter(p["val_loader"]))
            mse = p["loss_fn"](model(xb), yb).item()
        print(f"epoch {epoch} train {np.mean(running):.3f} val {mse:.3f}")
    print(f"score: {1 - mse / yb.var().item():.4f}")
