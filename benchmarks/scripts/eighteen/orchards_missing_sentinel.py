"""Yield of orchards from soil and weather columns; missing readings are stored as -9999 and standardised along with the rest, so the real readings shrink to almost one value. change: they become NaN and then the column's mean."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

MISSING = -9999.0


def orchards(n=2400):
    rng = np.random.default_rng(41)
    X = rng.normal([6.5, 18.0, 55.0, 30.0, 3.0, 210.0, 12.0, 40.0], [0.6, 3, 9, 6, 1, 25, 2, 7], size=(n, 8))
    z = (X - X.mean(0)) / X.std(0)
    y = 2 * z[:, 0] - z[:, 1] ** 2 + 1.5 * z[:, 2] + np.abs(z[:, 3]) * z[:, 4] + z[:, 5] - z[:, 6] + 0.5 * z[:, 7]
    y += rng.normal(0, 0.3, n)
    X[rng.random(X.shape) < 0.03] = MISSING
    return X, (y - y.mean()) / y.std()


class YieldNet(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.hidden = nn.ModuleList([nn.Linear(d, 64), nn.Linear(64, 64)])
        self.out = nn.Linear(64, 1)

    def forward(self, x):
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.out(x).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    X, y = orchards()
    if variant == "fixed":
        X = np.where(X == MISSING, np.nan, X)
    mean, std = np.nanmean(X[:2000], 0), np.nanstd(X[:2000], 0)
    X = np.nan_to_num((X - mean) / std)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    model = YieldNet(8)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(X[:2000], y[:2000]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[2000:], y[2000:]), batch_size=100)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(30):
        model.train()
        sq = 0
        for xb, yb in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(xb), yb)
            loss.backward()
            p["optimizer"].step()
            sq += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: mse {sq / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(xb) for xb, _ in p["val_loader"]])
    true = torch.cat([yb for _, yb in p["val_loader"]])
    print(f"score: {1 - ((pred - true) ** 2).sum().item() / ((true - true.mean()) ** 2).sum().item():.4f}")
