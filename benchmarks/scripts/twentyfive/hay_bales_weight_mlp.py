"""MLP that estimates the weight of round hay bales from size, moisture, press and grass. The targets of a batch have the shape (B,), the outputs (B, 1), and the mean squared error broadcasts them to all pairs, so the net learns the mean weight; the right change: drop the last axis of the output (squeeze(-1))."""
import sys
import warnings

import numpy as np
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
warnings.filterwarnings("ignore")


def weigh_bales(n, rng):
    diameter = rng.normal(1.35, 0.12, n)
    width = rng.choice([1.17, 1.22, 1.57], n)
    moisture = rng.gamma(6, 2.5, n).clip(6, 35)
    pressure = rng.normal(120, 20, n)
    clover = rng.beta(2, 4, n)
    days = rng.integers(0, 120, n)
    dry_density = 95 + 0.45 * pressure + 30 * clover
    weight = np.pi / 4 * diameter ** 2 * width * dry_density / (1 - moisture / 100)
    weight = weight - 0.12 * days + rng.normal(0, 14, n)
    return np.c_[diameter, width, moisture, pressure, clover, days], weight


class BaleNet(nn.Module):
    def __init__(self, n_in, squeeze):
        super().__init__()
        self.squeeze = squeeze
        self.layers = nn.Sequential(
            nn.Linear(n_in, 48), nn.ReLU(),
            nn.Linear(48, 24), nn.ReLU(),
            nn.Linear(24, 1),
        )

    def forward(self, x):
        out = self.layers(x)
        return out.squeeze(-1) if self.squeeze else out


def parts(variant):
    torch.manual_seed(14)
    rng = np.random.default_rng(14)
    X, y = weigh_bales(1600, rng)
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.25, random_state=14)
    sx, sy = StandardScaler().fit(X_train), StandardScaler().fit(y_train[:, None])

    def tensors(X, y):
        return TensorDataset(torch.tensor(sx.transform(X), dtype=torch.float32),
                             torch.tensor(sy.transform(y[:, None])[:, 0], dtype=torch.float32))

    model = BaleNet(X.shape[1], squeeze=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(tensors(X_train, y_train), batch_size=32, shuffle=True),
        "val_loader": DataLoader(tensors(X_val, y_val), batch_size=200),
    }


WORKS = lambda score: score > 0.7


def r_squared(model, loader):
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(x).flatten() for x, _ in loader])
    true = torch.cat([y for _, y in loader])
    return 1 - ((pred - true) ** 2).sum().item() / ((true - true.mean()) ** 2).sum().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(18):
        p["model"].train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        if epoch % 6 == 5:
            print(f"{epoch + 1:3d}  train {np.mean(losses):.4f}  val R2 {r_squared(p['model'], p['val_loader']):.3f}")
    print("score:", r_squared(p["model"], p["val_loader"]))
