"""Tram boardings of the next six hours from the last 48, GRU with SGD and ExponentialLR(gamma=0.9) meant for epochs; bad: scheduler.step() is called after every batch, so the rate is gone within the first epochs; change: it is called once per epoch."""
import math
import sys

import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR
from torch.utils.data import DataLoader, Dataset

BACK, AHEAD = 48, 6


def boardings(hours, seed=7):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(hours).float()
    hour, day = t % 24, (t // 24) % 7
    working = (day < 5).float()
    morning = torch.exp(-((hour - 8) ** 2) / 4)
    evening = torch.exp(-((hour - 17) ** 2) / 8)
    leisure = torch.exp(-((hour - 14) ** 2) / 20)
    level = 1 + 0.3 * torch.sin(2 * math.pi * t / (24 * 30))
    weather = torch.nn.functional.avg_pool1d(torch.randn(1, 1, hours + 11, generator=g), 12, 1)[0, 0]
    y = level * (working * (2 * morning + 1.7 * evening) + (1 - working) * 1.3 * leisure) * (1 + 0.3 * weather)
    return y + 0.05 * torch.randn(hours, generator=g)


class Windows(Dataset):
    def __init__(self, series):
        self.series = series

    def __len__(self):
        return len(self.series) - BACK - AHEAD + 1

    def __getitem__(self, i):
        return self.series[i:i + BACK].unsqueeze(-1), self.series[i + BACK:i + BACK + AHEAD]


class BoardingsGRU(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, AHEAD)

    def forward(self, x):
        out, _ = self.gru(x)
        return self.head(out[:, -1])


def parts(variant):
    torch.manual_seed(0)
    y = boardings(24 * 130)
    cut = 24 * 105
    y = (y - y[:cut].mean()) / y[:cut].std()
    model = BoardingsGRU()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = ExponentialLR(optimizer, gamma=0.9)
    mse = nn.MSELoss()

    def step(model, batch, optimizer):
        x, target = batch
        optimizer.zero_grad()
        loss = mse(model(x), target)
        loss.backward()
        optimizer.step()
        if variant == "bad":
            scheduler.step()
        return loss

    return dict(model=model, optimizer=optimizer, scheduler=scheduler, step=step,
                train_loader=DataLoader(Windows(y[:cut]), batch_size=64, shuffle=True),
                val_loader=DataLoader(Windows(y[cut:]), batch_size=200))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        losses = [p["step"](model, batch, optimizer).item() for batch in p["train_loader"]]
        if variant != "bad":
            p["scheduler"].step()
        print(f"epoch {epoch:2d}  mse {sum(losses) / len(losses):.4f}")
    with torch.no_grad():
        out = torch.cat([model(x) for x, _ in p["val_loader"]])
    true = torch.cat([y for _, y in p["val_loader"]])
    score = 1 - ((out - true) ** 2).mean().item() / true.var().item()
    print(f"score: {score:.4f}")
