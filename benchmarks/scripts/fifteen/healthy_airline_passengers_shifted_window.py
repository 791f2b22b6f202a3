"""Healthy: the airline-passengers notebook: one series of monthly counts, scaled by the training years alone, a target that is the window shifted by one month so that it overlaps the input, an LSTM with a linear layer at every moment; batches of eight. change: nothing, it is sound."""
import sys

import numpy as np
import torch
from torch import nn, optim
from torch.utils import data

LOOKBACK = 12


def passengers():
    rng = np.random.default_rng(0)
    month = np.arange(192)
    season = np.array([0.91, 0.89, 1.02, 0.98, 0.99, 1.11, 1.23, 1.22, 1.06, 0.92, 0.80, 0.90])
    counts = (150 + 1.6 * month) * season[month % 12] * (1 + 0.02 * rng.standard_normal(192))
    return counts.round().astype("float32").reshape(-1, 1)


timeseries = passengers()
train_size = int(len(timeseries) * 0.7)
low, high = timeseries[:train_size].min(), timeseries[:train_size].max()
scaled = (timeseries - low) / (high - low)
train, test = scaled[:train_size], scaled[train_size - LOOKBACK:]


def create_dataset(dataset, lookback):
    X, y = [], []
    for i in range(len(dataset) - lookback):
        feature = dataset[i:i + lookback]
        target = dataset[i + 1:i + lookback + 1]
        X.append(feature)
        y.append(target)
    return torch.tensor(np.array(X)), torch.tensor(np.array(y))


class AirModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(input_size=1, hidden_size=50, num_layers=1, batch_first=True)
        self.linear = nn.Linear(50, 1)

    def forward(self, x):
        x, _ = self.lstm(x)
        x = self.linear(x)
        return x


def parts(variant):
    torch.manual_seed(0)
    X_train, y_train = create_dataset(train, LOOKBACK)
    X_test, y_test = create_dataset(test, LOOKBACK)
    model = AirModel()
    return dict(
        model=model,
        optimizer=optim.Adam(model.parameters(), lr=0.003),
        loss_fn=nn.MSELoss(),
        train_loader=data.DataLoader(data.TensorDataset(X_train, y_train), shuffle=True, batch_size=8),
        val_loader=data.DataLoader(data.TensorDataset(X_test, y_test), batch_size=64),
    )


# R squared of the last month of every window over the later years
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn, loader = p["model"], p["optimizer"], p["loss_fn"], p["train_loader"]
    for epoch in range(150):
        model.train()
        total = 0
        for X_batch, y_batch in loader:
            y_pred = model(X_batch)
            loss = loss_fn(y_pred, y_batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 15 == 0:
            print(f"Epoch {epoch}: train RMSE {(total / len(loader)) ** 0.5:.4f}")
    model.eval()
    with torch.no_grad():
        X_test, y_test = next(iter(p["val_loader"]))
        pred, true = model(X_test)[:, -1], y_test[:, -1]
        score = (1 - ((pred - true) ** 2).mean() / true.var(unbiased=False)).item()
    print(f"score: {score:.4f}")
