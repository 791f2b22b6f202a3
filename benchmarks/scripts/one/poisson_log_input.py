"""Count regression (bicycles per hour) with a softplus head that gives the rate, under nn.PoissonNLLLoss() whose log_input=True takes it for the logarithm; the loss falls, the rates are wrong (logarithms); the right change: log_input=False."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def load(seed, n):
    rng = np.random.RandomState(seed)
    hour = rng.randint(0, 24, n)
    temp = rng.normal(15, 8, n)
    rain = rng.rand(n) < 0.2
    log_rate = 2.2 + np.sin((hour - 7) / 24 * 2 * np.pi) + 0.04 * (temp - 15) - 0.8 * rain
    y = rng.poisson(np.exp(log_rate))
    X = np.stack([np.sin(hour / 24 * 2 * np.pi), np.cos(hour / 24 * 2 * np.pi), (temp - 15) / 8, rain], 1)
    return torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


class RateNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Softplus())

    def forward(self, x):
        return self.net(x).squeeze(1)


def parts(variant):
    torch.manual_seed(1)
    model = RateNet()
    criterion = nn.PoissonNLLLoss() if variant == "bad" else nn.PoissonNLLLoss(log_input=False)
    return {"model": model, "loss_fn": criterion, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(*load(0, 4000)), 64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*load(1, 1000)), 250)}


WORKS = lambda score: score < 0.6  # squared error over that of the mean count

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(12):
        losses = []
        for X, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(X), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print("epoch", epoch, "loss", np.mean(losses))
    with torch.no_grad():
        pred = torch.cat([model(X) for X, _ in p["val_loader"]])
    y = torch.cat([y for _, y in p["val_loader"]])
    print("score:", (((pred - y) ** 2).mean() / y.var()).item())
