"""Forecast of a hive's weight change over the next half day from two days of hourly scale readings, a GRU that predicts a difference to the last reading; unusual: the target is a small difference beside a large raw weight, scaled properly before the network."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

torch.set_num_threads(1)
HISTORY, AHEAD = 48, 12


class HiveWindows(Dataset):
    """windows over one stretch of the log; everything is expressed relative to the last reading of the window"""

    def __init__(self, weight, temp, hours, temp_mean, temp_std):
        self.w, self.t, self.h = weight, (temp - temp_mean) / temp_std, hours

    def __len__(self):
        return len(self.w) - HISTORY - AHEAD

    def __getitem__(self, i):
        w = self.w[i:i + HISTORY]
        h = self.h[i:i + HISTORY]
        x = np.stack([w - w[-1], self.t[i:i + HISTORY], np.sin(2 * np.pi * h / 24), np.cos(2 * np.pi * h / 24)], 1)
        y = self.w[i + HISTORY + AHEAD - 1] - w[-1]
        return torch.tensor(x, dtype=torch.float32), torch.tensor([y], dtype=torch.float32)


def simulate(n, rng):
    hours = np.arange(n)
    front = np.zeros(n)
    for i in range(1, n):
        front[i] = 0.99 * front[i - 1] + rng.normal(0, 0.5)
    temp = 18 + 6 * np.sin(2 * np.pi * (hours - 9) / 24) + front
    daylight = np.clip(np.sin(2 * np.pi * (hours - 6) / 24), 0, None)
    gain = 0.15 * daylight * np.clip(temp - 15, 0, 12) / 4 - 0.03
    weight = 42 + np.cumsum(gain - gain.mean()) + rng.normal(0, 0.02, n)
    return weight, temp, hours


class HiveGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 32, batch_first=True)
        self.head = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        _, h = self.gru(x)
        return self.head(h[-1])


def r2(out, target):
    return 1 - ((out - target) ** 2).sum().item() / ((target - target.mean()) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(5)
    w, t, h = simulate(4200, rng)
    cut = 3300
    tm, ts = t[:cut].mean(), t[:cut].std()
    train = HiveWindows(w[:cut], t[:cut], h[:cut], tm, ts)
    val = HiveWindows(w[cut:], t[cut:], h[cut:], tm, ts)
    model = HiveGRU()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(train, batch_size=64, shuffle=True),
            "val_loader": DataLoader(val, batch_size=128), "metric": r2}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            losses.append(loss.item())
        model.eval()
        outs, ys = [], []
        with torch.no_grad():
            for x, y in p["val_loader"]:
                outs.append(model(x))
                ys.append(y)
        score = r2(torch.cat(outs), torch.cat(ys))
        print(f"epoch {epoch} mse {np.mean(losses):.4f} val r2 {score:.3f}")
    print("score:", score)
