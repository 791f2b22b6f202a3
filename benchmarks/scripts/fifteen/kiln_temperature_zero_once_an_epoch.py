"""Firing curve of a kiln: an LSTM says the temperature after the next hour from the last 24 readings; bad: the loop was rewritten so that zero_grad stands before the loop over the batches, once an epoch, and gradients add up within it; change: zero_grad for every batch."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

lookback = 24


def firing(seed, n=2200):
    rng = np.random.default_rng(seed)
    gas, temp, target, series = 0.0, 0.0, 0.0, []
    for t in range(n):
        if t % 40 == 0:
            target = rng.uniform(-1.5, 1.5)
        gas = 0.8 * gas + 0.2 * (target - temp)
        temp = temp + 0.35 * gas + 0.01 * rng.normal()
        series.append((temp, gas))
    return np.array(series, dtype=np.float32)


def create_dataset(dataset, lookback):
    X, y = [], []
    for i in range(len(dataset) - lookback - 4):
        X.append(dataset[i:i + lookback])
        y.append(dataset[i + lookback + 3, :1])
    X, y = np.stack(X), np.stack(y)
    return torch.tensor(X / dataset.std(0)), torch.tensor(y / dataset[:, :1].std(0))


class KilnModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(input_size=2, hidden_size=40, num_layers=1, batch_first=True)
        self.linear = nn.Linear(40, 1)

    def forward(self, x):
        x, _ = self.lstm(x)
        return self.linear(x[:, -1])


def parts(variant):
    torch.manual_seed(0)
    model = KilnModel()
    loss_fn = nn.MSELoss()

    def train_batch(model, batch, optimizer):
        X_batch, y_batch = batch
        if variant != "bad":
            optimizer.zero_grad()
        y_pred = model(X_batch)
        loss = loss_fn(y_pred, y_batch)
        loss.backward()
        optimizer.step()
        return loss

    X, y = create_dataset(firing(1), lookback)
    return {
        "model": model,
        "step": train_batch,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "train_loader": DataLoader(TensorDataset(X[:1700], y[:1700]), shuffle=True, batch_size=16),
        "val_loader": DataLoader(TensorDataset(X[1730:], y[1730:]), batch_size=128),
    }


WORKS = lambda score: score < 0.4

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    n_epochs = 12
    for epoch in range(n_epochs):
        model.train()
        optimizer.zero_grad()
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](model, batch, optimizer).item()
        model.eval()
        with torch.no_grad():
            errors = torch.cat([(model(X) - y).flatten() for X, y in p["val_loader"]])
        test_rmse = errors.pow(2).mean().sqrt().item()
        print("Epoch %d: train loss %.4f, test RMSE %.4f" % (epoch, total / len(p["train_loader"]), test_rmse))
    score = test_rmse
    print(f"score: {score:.4f}")
