"""An MLP regresses the 100 m time of club swimmers from training data. The predictions have the shape (batch, 1) and the targets (batch,), so MSELoss broadcasts to a (batch, batch) matrix and the network learns the mean only; the right change: squeeze the last dimension of the output (self.net(x).squeeze(-1))."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def load_swimmers(n=3000, seed=3):
    rng = np.random.default_rng(seed)
    age = rng.uniform(12, 65, n)
    height = rng.normal(174, 9, n)
    weekly_km = rng.gamma(3.0, 4.0, n)
    stroke_rate = rng.normal(42, 6, n)
    years = np.clip(rng.exponential(6, n), 0, age - 8)
    female = rng.integers(0, 2, n)
    seconds = (92 + 0.012 * (age - 24) ** 2 - 0.35 * (height - 174) - 9 * np.log1p(weekly_km / 4)
               - 2.5 * np.sqrt(years) + 5 * female + 0.06 * (stroke_rate - 44) ** 2 + rng.normal(0, 2.5, n))
    table = np.column_stack([age, height, weekly_km, stroke_rate, years, female])
    return table.astype(np.float32), seconds.astype(np.float32)


class LapTimeNet(nn.Module):
    def __init__(self, in_features, hidden=48, flat=False):
        super().__init__()
        self.flat = flat
        self.net = nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU(),
                                 nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x):
        out = self.net(x)
        return out.squeeze(-1) if self.flat else out


def r2(outputs, targets):
    outputs = outputs.reshape(-1)
    return 1 - ((outputs - targets) ** 2).sum().item() / ((targets - targets.mean()) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(5)
    X, y = load_swimmers()
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(X_train)
    mean, std = y_train.mean(), y_train.std()
    train = TensorDataset(torch.tensor(scaler.transform(X_train)), torch.tensor((y_train - mean) / std))
    test = TensorDataset(torch.tensor(scaler.transform(X_test)), torch.tensor((y_test - mean) / std))
    model = LapTimeNet(X.shape[1], flat=variant != "bad")
    return {"model": model, "loss_fn": nn.MSELoss(), "metric": r2,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(train, batch_size=40, shuffle=True),
            "val_loader": DataLoader(test, batch_size=600)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        running = 0.0
        for features, times in p["train_loader"]:
            pred = model(features)
            loss = loss_fn(pred, times)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: train mse {running / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        features, times = next(iter(p["val_loader"]))
        print("score:", r2(model(features), times))
