"""A GRU forecasts the number of riders of a chairlift for the next day from the last four weeks. The counts (about 3,000 to 15,000) go in and are to come out as they are; the gates saturate and the output layer cannot reach that size in the training time; the right change: standardise the series with mean and deviation of the training years."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
WINDOW = 28


def daily_riders(days, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(days)
    season = 6500 + 2200 * np.sin(2 * np.pi * t / 365.25 - 1.0)
    week = np.array([-900, -1200, -1100, -700, 600, 2900, 2200])[t % 7]
    weather = np.zeros(days)
    for i in range(1, days):
        weather[i] = 0.85 * weather[i - 1] + 450 * rng.normal()
    return (season + week + weather + 250 * rng.normal(size=days)).clip(500).astype(np.float32)


class IdentityScaler:
    def fit(self, series):
        return self

    def transform(self, series):
        return series


class StandardScaler(IdentityScaler):
    def fit(self, series):
        self.mean, self.std = series.mean(), series.std()
        return self

    def transform(self, series):
        return (series - self.mean) / self.std


class Windows(Dataset):
    def __init__(self, series):
        self.series = torch.from_numpy(series)

    def __len__(self):
        return len(self.series) - WINDOW

    def __getitem__(self, i):
        return self.series[i:i + WINDOW, None], self.series[i + WINDOW:i + WINDOW + 1]


class RiderGRU(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        _, h = self.gru(x)
        return self.head(h[-1])


def r_squared(outputs, targets):
    return 1 - ((outputs - targets) ** 2).mean().item() / targets.var(unbiased=False).item()


def parts(variant):
    torch.manual_seed(1)
    riders = daily_riders(365 * 6)
    cut = 365 * 5
    scaler = IdentityScaler() if variant == "bad" else StandardScaler()
    scaler.fit(riders[:cut])
    train, val = Windows(scaler.transform(riders[:cut])), Windows(scaler.transform(riders[cut - WINDOW:]))
    model = RiderGRU()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.MSELoss(), "metric": r_squared,
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(val, batch_size=365)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=8)
    for epoch in range(8):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            (x, y), = p["val_loader"]
            score = p["metric"](model(x), y)
        print(f"epoch {epoch + 1}: train mse {loss.item():.4g}, last year R2 {score:.3f}")
    print("score:", score)
