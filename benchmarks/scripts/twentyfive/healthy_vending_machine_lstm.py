"""LSTM that forecasts the next hour's sales of a station vending machine from the last 36 hours. An ordinary sound script; windows overlap, but the held-out weeks come after the training weeks, and the scaling is taken from the training weeks alone."""
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
WINDOW = 36


def simulate_sales(hours, gen):
    t = torch.arange(hours, dtype=torch.float32)
    hour, day = t % 24, (t // 24) % 7
    commute = torch.exp(-0.5 * ((hour - 8) / 1.6) ** 2) + 0.8 * torch.exp(-0.5 * ((hour - 17.5) / 2.0) ** 2)
    level = 4 + 30 * commute * torch.where(day >= 5, 0.35, 1.0)
    mood, drift = 0.0, []
    for e in torch.randn(hours, generator=gen).tolist():
        mood = 0.92 * mood + 0.12 * e
        drift.append(mood)
    rate = level * torch.exp(torch.tensor(drift))
    return torch.poisson(rate, generator=gen)


def make_windows(sales, mean, std, first_hour):
    z = (torch.log1p(sales) - mean) / std
    hours = torch.arange(len(sales)) + first_hour
    angle, week = 2 * math.pi * (hours % 24) / 24, 2 * math.pi * (hours % 168) / 168
    feats = torch.stack([z, angle.sin(), angle.cos(), week.sin(), week.cos()], dim=1)
    x = feats.unfold(0, WINDOW, 1)[:-1].transpose(1, 2).contiguous()
    y = z[WINDOW:]
    return TensorDataset(x, y)


class SalesLSTM(nn.Module):
    def __init__(self, n_features=5, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(n_features, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1]).squeeze(-1)


def r2(pred, y):
    return (1 - (pred - y).pow(2).mean() / (y - y.mean()).pow(2).mean()).item()


def parts(variant):
    torch.manual_seed(3)
    gen = torch.Generator().manual_seed(11)
    sales = simulate_sales(24 * 7 * 14, gen)
    cut = 24 * 7 * 11
    logs = torch.log1p(sales[:cut])
    mean, std = logs.mean(), logs.std()
    train = make_windows(sales[:cut], mean, std, 0)
    val = make_windows(sales[cut:], mean, std, cut)
    model = SalesLSTM()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(train, batch_size=64, shuffle=True),
            "val_loader": DataLoader(val, batch_size=256), "metric": r2}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch}: train mse {total / len(p['train_loader'].dataset):.4f}")
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in p["val_loader"]]
    print("score:", p["metric"](torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])))
