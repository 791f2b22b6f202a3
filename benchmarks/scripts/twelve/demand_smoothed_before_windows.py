"""Next hour's demand from the last 24 by a GRU, RMSprop; the load is smoothed for the inputs by a centred moving average over the whole series before the windows are cut, so training inputs hold the hours to be forecast, while live there is the past only; change: the average runs over past hours, as it does live."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW, K = 24, 5


def demand(n, seed):
    rng = np.random.default_rng(seed)
    e = rng.normal(size=n)
    s = np.zeros(n)
    for t in range(3, n):
        s[t] = 1.5 * s[t - 1] - 0.8 * s[t - 2] + 0.5 * e[t]
    return (s / s.std()).astype(np.float32)


def smooth_centred(s):
    return np.convolve(s, np.ones(K) / K, mode="same")


def smooth_past(s):
    return np.convolve(s, np.ones(K) / K)[: len(s)]


def windows(s, smoother):
    """Inputs (load, smoothed load) of 24 hours; target the hour after."""
    f = np.stack([s, smoother(s)], 1).astype(np.float32)
    x = np.stack([f[i:i + WINDOW] for i in range(K, len(s) - WINDOW - K)])
    y = s[K + WINDOW:len(s) - K]
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(y)[:, None])


def live_windows(s, smoother):
    """As it is at use: only the hours until now exist when the features are made."""
    xs, ys = [], []
    for t in range(2 * WINDOW, len(s)):
        past = s[t - 2 * WINDOW:t]
        xs.append(np.stack([past, smoother(past)], 1)[-WINDOW:])
        ys.append(s[t])
    return TensorDataset(torch.from_numpy(np.stack(xs).astype(np.float32)), torch.tensor(np.array(ys))[:, None])


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(self.gru(x)[0][:, -1])


def parts(variant):
    torch.manual_seed(0)
    smoother = smooth_centred if variant == "bad" else smooth_past
    s = demand(3200, 1)
    model = Forecaster()
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=2e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(windows(s[:2500], smoother), batch_size=64, shuffle=True),
        "val_loader": DataLoader(live_windows(s[2500:], smoother), batch_size=256),
    }


def skill(model, loader):
    """R2 of the live forecasts."""
    model.eval()
    with torch.no_grad():
        p = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return 1 - ((p - y).pow(2).mean() / y.var()).item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
            total += loss.item() * len(x)
        print(f"epoch {epoch}: train {total / len(p['train_loader'].dataset):.4f}, live R2 {skill(model, p['val_loader']):.3f}")
    print(f"score: {skill(model, p['val_loader']):.4f}")
