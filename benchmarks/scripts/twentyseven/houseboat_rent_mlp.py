"""An MLP estimates the monthly rent of houseboats from a table. The network returns (batch, 1) and the targets are (batch,), so MSELoss broadcasts them to a square and the network learns the mean rent; the right change: squeeze the last dimension of the output."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
HARBOURS = 6


def listings(n, rng):
    length = rng.normal(15, 4, n).clip(6, 30)
    beam = 2 + 0.12 * length + rng.normal(0, 0.4, n)
    age = rng.gamma(3, 9, n)
    rooms = np.round(length / 5 + rng.normal(0, 0.6, n)).clip(1, 6)
    heating = rng.integers(0, 3, n)
    centre_km = rng.exponential(3, n)
    harbour = rng.integers(0, HARBOURS, n)
    premium = np.array([0, 90, 220, -80, 150, 40])[harbour]
    rent = (350 + 14 * length * beam ** 0.5 + 110 * rooms - 6 * age + 0.05 * age ** 2 + 70 * heating
            + 380 * np.exp(-centre_km / 2) + premium + rng.normal(0, 70, n))
    X = np.column_stack([length, beam, age, rooms, heating, centre_km, np.eye(HARBOURS)[harbour]])
    return X.astype(np.float32), rent.astype(np.float32)


class RentNet(nn.Module):
    def __init__(self, n_features, shape):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_features, 64), nn.ReLU(),
            nn.Linear(64, 32), nn.ReLU(),
            nn.Linear(32, 1))
        self.shape = shape

    def forward(self, x):
        return self.net(x).reshape(self.shape)


def r2(outputs, targets):
    outputs, targets = outputs.flatten(), targets.flatten()
    return 1 - ((outputs - targets) ** 2).sum().item() / ((targets - targets.mean()) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(42)
    X, y = listings(2200, np.random.default_rng(42))
    X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=0.2, random_state=42)
    x_scaler = StandardScaler().fit(X_train)
    y_scaler = StandardScaler().fit(y_train[:, None])

    def dataset(X, y):
        return TensorDataset(torch.tensor(x_scaler.transform(X)).float(),
                             torch.tensor(y_scaler.transform(y[:, None])[:, 0]).float())
    model = RentNet(X.shape[1], (-1, 1) if variant == "bad" else (-1,))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5),
            "loss_fn": nn.MSELoss(), "metric": r2,
            "train_loader": DataLoader(dataset(X_train, y_train), batch_size=32, shuffle=True),
            "val_loader": DataLoader(dataset(X_val, y_val), batch_size=440)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(16):
        model.train()
        losses = []
        for xb, yb in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            (xv, yv), = p["val_loader"]
            score = r2(model(xv), yv)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: mse {np.mean(losses):.3f} val r2 {score:.3f}")
    print("score:", score)
