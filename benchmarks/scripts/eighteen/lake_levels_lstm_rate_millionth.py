"""LSTM that forecasts the level of a lake a day ahead from two weeks of level and rain; the Adam rate is 1e-6, so it hardly moves (bad). change: rate 3e-3."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 14


def lake(days=1800, seed=3):
    rng = np.random.default_rng(seed)
    rain = rng.gamma(0.4, 8.0, days) * (1 + 0.6 * np.sin(2 * np.pi * np.arange(days) / 365))
    level = np.zeros(days)
    for d in range(3, days):
        level[d] = 0.93 * level[d - 1] + 0.05 * rain[d - 1] + 0.08 * rain[d - 2] + 0.03 * rng.normal()
    return np.stack([level, rain], 1)


def make_windows(series):
    x = np.stack([series[i:i + WINDOW] for i in range(len(series) - WINDOW)])
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(series[WINDOW:, :1], dtype=torch.float32))


class LevelLSTM(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1])


def parts(variant):
    torch.manual_seed(0)
    series = lake()
    train, test = series[:1400], series[1400:]
    mean, std = train.mean(0), train.std(0)
    model = LevelLSTM()
    lr = 1e-6 if variant == "bad" else 3e-3
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=lr), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(make_windows((train - mean) / std), 32, shuffle=True),
            "val_loader": DataLoader(make_windows((test - mean) / std), 512)}


def rmse(model, loader):
    model.eval()
    with torch.no_grad():
        errors = [(model(x) - y).pow(2) for x, y in loader]
    model.train()
    return torch.cat(errors).mean().sqrt().item()


WORKS = lambda score: score < 0.35  # rmse in standard deviations of the level

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(25):
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"Epoch {epoch + 1}/25 loss {np.mean(losses):.4f} val rmse {rmse(p['model'], p['val_loader']):.4f}")
    print(f"score: {rmse(p['model'], p['val_loader']):.4f}")
