"""Multi-step forecast of a standardised temperature series with an LSTM encoder and dense decoder built in a loop; mistake: the loop puts a ReLU after the output layer too, so values below the mean cannot be forecast; change: no activation after the last layer."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

PAST, FUTURE = 48, 12


def temperatures(hours=2600, seed=3):
    rng = np.random.default_rng(seed)
    t = np.arange(hours)
    weather = np.zeros(hours)
    for i in range(1, hours):
        weather[i] = 0.98 * weather[i - 1] + rng.normal(0, 0.25)
    return 12 + 6 * np.sin(2 * np.pi * (t - 9) / 24) + 1.5 * np.sin(2 * np.pi * t / 12) + weather + rng.normal(0, 0.2, hours)


def slices(series):
    view = np.lib.stride_tricks.sliding_window_view(series, PAST + FUTURE)
    view = torch.tensor(view.copy(), dtype=torch.float32)
    return TensorDataset(view[:, :PAST, None], view[:, PAST:])


class Seq2Dense(nn.Module):
    def __init__(self, variant, hidden=32, dense=(64, 64, FUTURE)):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        layers, width = [], hidden
        for i, size in enumerate(dense):
            layers.append(nn.Linear(width, size))
            if variant == "bad" or i < len(dense) - 1:
                layers.append(nn.ReLU())
            width = size
        self.decoder = nn.Sequential(*layers)

    def forward(self, x):
        output, _ = self.lstm(x)
        return self.decoder(output[:, -1, :])


def parts(variant="fixed"):
    torch.manual_seed(6)
    series = temperatures()
    train, val = series[:2000], series[2000:]
    mean, std = train.mean(), train.std()
    model = Seq2Dense(variant)
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(slices((train - mean) / std), batch_size=64, shuffle=True),
        "val_loader": DataLoader(slices((val - mean) / std), batch_size=128),
        "loss_fn": nn.MSELoss(),
    }


# R2 over the forecast horizon
WORKS = lambda score: score > 0.75


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in loader]
    pred, true = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    return (1 - ((pred - true) ** 2).mean() / true.var()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(1, 29):
        model.train()
        running = 0.0
        for past, future in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(past), future)
            loss.backward()
            optimizer.step()
            running += loss.item()
        if epoch % 2 == 0:
            print(f"epoch {epoch:2d}  mse {running / len(p['train_loader']):.4f}")
    print(f"score: {evaluate(model, p['val_loader']):.4f}")
