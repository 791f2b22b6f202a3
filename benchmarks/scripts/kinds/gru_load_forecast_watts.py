"""GRU forecast of an electric load: inputs are standardised, the target stays in watts (mean 48,000); change: `fixed` standardises the target too (and scales predictions back)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW, EPOCHS = 24, 15
WORKS = lambda r2: r2 > 0.7


def load_curve(hours=3000, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(hours)
    temp = 12 + 8 * np.sin(2 * np.pi * t / (24 * 60)) + 5 * np.sin(2 * np.pi * (t - 9) / 24) + rng.normal(0, 1, hours)
    day = np.sin(2 * np.pi * (t - 7) / 24) + 0.4 * np.sin(4 * np.pi * t / 24)
    load = 48000 + 7000 * day + 350 * np.abs(temp - 15) * 2 + 2500 * np.where((t // 24) % 7 < 5, 1, -1) + rng.normal(0, 900, hours)
    return np.stack([load, temp, np.sin(2 * np.pi * t / 24), np.cos(2 * np.pi * t / 24)], 1).astype("float32")


class Forecaster(nn.Module):
    def __init__(self, n_features=4, hidden=48):
        super().__init__()
        self.gru = nn.GRU(n_features, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        out, _ = self.gru(x)
        return self.head(out[:, -1]).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    raw = load_curve()
    split = 2400
    mean, std = raw[:split].mean(0), raw[:split].std(0)
    feats = (raw - mean) / std
    X = np.stack([feats[i : i + WINDOW] for i in range(len(raw) - WINDOW)])
    y = raw[WINDOW:, 0].copy()
    if variant == "fixed":
        y = (y - mean[0]) / std[0]
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    train = DataLoader(TensorDataset(X[:split], y[:split]), batch_size=64, shuffle=True)
    val = DataLoader(TensorDataset(X[split:], y[split:]), batch_size=256)
    model = Forecaster()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), train_loader=train, val_loader=val, loss_fn=nn.MSELoss())


def r2(model, loader):
    model.eval()
    with torch.no_grad():
        p = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([t for _, t in loader])
    return (1 - ((p - y) ** 2).mean() / y.var()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(EPOCHS):
        model.train()
        losses = []
        for xb, yb in p["train_loader"]:
            loss = p["loss_fn"](model(xb), yb)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch:2d} train {np.mean(losses):.4g} val R2 {r2(model, p['val_loader']):.3f}")
    print("score:", round(r2(model, p["val_loader"]), 4))
