"""Regression of house prices: zero_grad is called between backward and the optimizer's step, so every step is taken with empty gradients; change: before backward."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def houses(n, seed):
    rng = np.random.default_rng(seed)
    area = rng.uniform(40, 220, n)
    rooms = np.clip(np.round(area / 28 + rng.normal(0, 0.8, n)), 1, 9)
    age = rng.uniform(0, 90, n)
    dist = rng.gamma(2.0, 4.0, n)
    garden = rng.random(n) < 0.4
    price = (60 + 2.1 * area * np.exp(-dist / 14) + 9 * rooms - 0.6 * age + 0.006 * (age - 45) ** 2
             + 25 * garden * (dist > 6) + rng.normal(0, 12, n))
    X = np.stack([area, rooms, age, dist, garden.astype(float)], 1)
    return X.astype(np.float32), price.astype(np.float32)


class PriceModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    X, y = houses(1600, 10)
    Xv, yv = houses(400, 11)
    mx, sx, my, sy = X.mean(0), X.std(0), y.mean(), y.std()
    def ds(a, b):
        return TensorDataset(torch.from_numpy((a - mx) / sx), torch.from_numpy((b - my) / sy))
    model = PriceModel()
    loss_fn = nn.MSELoss()

    def step(model, batch, optimizer):
        features, price = batch
        if variant != "bad":
            optimizer.zero_grad()
        loss = loss_fn(model(features), price)
        loss.backward()
        if variant == "bad":
            optimizer.zero_grad()
        optimizer.step()
        return loss

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": loss_fn, "step": step,
            "train_loader": DataLoader(ds(X, y), batch_size=32, shuffle=True),
            "val_loader": DataLoader(ds(Xv, yv), batch_size=200)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(60):
        model.train()
        mse = np.mean([p["step"](model, b, p["optimizer"]).item() for b in p["train_loader"]])
        model.eval()
        with torch.no_grad():
            res = torch.cat([model(x) - y for x, y in p["val_loader"]])
            ref = torch.cat([y for _, y in p["val_loader"]])
        r2 = 1 - (res ** 2).mean().item() / ref.var().item()
        if epoch % 6 == 5:
            print(f"epoch {epoch:3d} mse {mse:.4f} val r2 {r2:.3f}")
    print(f"score: {r2:.4f}")
