"""A funicular plans its cabins by the 90 % quantile of the next hour's passengers, forecast by a GRU from the 24 hours before with the pinball loss; the score is the share of held-out hours in which the passengers stay below the forecast. The error in the pinball loss is taken as forecast minus truth, which turns it into the loss of the 10 % quantile; the right change: error = target - forecast."""
import sys

import numpy as np
import torch
import torch.nn as nn

torch.set_num_threads(1)
Q, WINDOW = 0.9, 24


def passengers(days, rng):
    h = np.arange(days * 24)
    daily = 1.2 + np.sin(2 * np.pi * (h % 24 - 9) / 24) + 0.4 * np.sin(4 * np.pi * (h % 24 - 4) / 24)
    weekend = 1 + 0.5 * (h // 24 % 7 >= 5)
    weather = np.zeros(len(h))
    for i in range(1, len(h)):
        weather[i] = 0.95 * weather[i - 1] + 0.1 * rng.normal()
    mean = 45 * np.clip(daily, 0.1, None) * weekend * np.exp(0.6 * weather)
    return rng.poisson(rng.gamma(8.0, mean / 8.0)).astype("float32")


class Windows:
    """All windows of a series, once per epoch, in random order if wished."""

    def __init__(self, series, scale, batch_size, shuffle):
        self.series, self.batch_size, self.shuffle = torch.from_numpy(series / scale), batch_size, shuffle
        hour = 2 * np.pi * (np.arange(len(series)) % 24) / 24
        self.clock = torch.from_numpy(np.stack([np.sin(hour), np.cos(hour)], 1).astype("float32"))

    def __len__(self):
        return (len(self.series) - WINDOW) // self.batch_size

    def __iter__(self):
        n = len(self.series) - WINDOW
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for start in order[:len(self) * self.batch_size].split(self.batch_size):
            idx = start[:, None] + torch.arange(WINDOW)
            yield torch.cat([self.series[idx][..., None], self.clock[idx]], -1), self.series[start + WINDOW]


class CabinGRU(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(3, hidden, batch_first=True)
        self.out = nn.Sequential(nn.Linear(hidden, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        return self.out(self.gru(x)[0][:, -1]).squeeze(-1)


def pinball_forecast_first(forecast, target):
    error = forecast - target
    return torch.maximum(Q * error, (Q - 1) * error).mean()


def pinball(forecast, target):
    error = target - forecast
    return torch.maximum(Q * error, (Q - 1) * error).mean()


def parts(variant):
    torch.manual_seed(19)
    rng = np.random.default_rng(19)
    series = passengers(150, rng)
    cut = 120 * 24
    scale = series[:cut].mean()
    model = CabinGRU()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
            "loss_fn": pinball_forecast_first if variant == "bad" else pinball,
            "train_loader": Windows(series[:cut], scale, 64, shuffle=True),
            "val_loader": Windows(series[cut:], scale, 100, shuffle=False)}


WORKS = lambda score: 0.8 < score < 0.97

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    schedule = torch.optim.lr_scheduler.StepLR(p["optimizer"], 5, 0.4)
    for epoch in range(12):
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        schedule.step()
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")
    with torch.no_grad():
        below = torch.cat([y <= p["model"](x) for x, y in p["val_loader"]])
    print("score:", below.float().mean().item())
