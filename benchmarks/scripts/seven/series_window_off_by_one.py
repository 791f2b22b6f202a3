"""One-step forecasts of a seasonal load series with a causal conv net; mistake: the target is the last value of the window itself, so the net learns to copy it and forecasts like persistence; change: the target is the value after the window."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

WINDOW = 36


def load_series(n=4200, seed=4):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    ar = np.zeros(n)
    for i in range(2, n):
        ar[i] = 1.2 * ar[i - 1] - 0.75 * ar[i - 2] + rng.normal(0, 0.25)
    return (50 + 9 * np.sin(2 * np.pi * t / 12) + 6 * np.sin(2 * np.pi * t / 7 + 1) + 4 * ar).astype(np.float32)


class WindowDataset(Dataset):
    def __init__(self, series, window, variant):
        self.series = torch.as_tensor(series)
        self.window = window
        self.horizon = 0 if variant == "fixed" else -1

    def __len__(self):
        return len(self.series) - self.window

    def __getitem__(self, i):
        end = i + self.window
        return self.series[i:end].unsqueeze(0), self.series[end + self.horizon]


class CausalConv(nn.Module):
    def __init__(self, cin, cout, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(cin, cout, 3, dilation=dilation)

    def forward(self, x):
        return torch.relu(self.conv(nn.functional.pad(x, (self.pad, 0))))


class TCN(nn.Module):
    def __init__(self, channels=24):
        super().__init__()
        self.layers = nn.Sequential(CausalConv(1, channels, 1), CausalConv(channels, channels, 2), CausalConv(channels, channels, 4), CausalConv(channels, channels, 8))
        self.out = nn.Linear(channels, 1)

    def forward(self, x):
        return self.out(self.layers(x)[:, :, -1]).squeeze(1)


def prepared():
    series = load_series()
    train, val = series[:3400], series[3400:]
    mean, std = train.mean(), train.std()
    return (train - mean) / std, (val - mean) / std


def parts(variant="fixed"):
    torch.manual_seed(0)
    train, val = prepared()
    model = TCN()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(WindowDataset(train, WINDOW, variant), batch_size=64, shuffle=True),
        "val_loader": DataLoader(WindowDataset(val, WINDOW, variant), batch_size=256),
        "loss_fn": nn.MSELoss(),
    }


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optim, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            optim.zero_grad()
            loss = mse(net(x), y)
            loss.backward()
            optim.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            val_loss = np.mean([mse(net(x), y).item() for x, y in p["val_loader"]])
        print(f"epoch {epoch + 1:2d} train mse {np.mean(losses):.5f} val mse {val_loss:.5f}")
    # rolling forecast over the held-out months: what comes next, against "same as now"
    _, val = prepared()
    windows = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(val[:-1], WINDOW).copy()).unsqueeze(1)
    following = torch.from_numpy(val[WINDOW:])
    with torch.no_grad():
        forecast = net(windows)
    skill = 1 - ((forecast - following) ** 2).mean() / ((windows[:, 0, -1] - following) ** 2).mean()
    print(f"score: {skill.item():.4f}")
