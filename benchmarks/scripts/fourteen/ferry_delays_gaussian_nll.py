"""Ferry delays from a table with a network that gives a mean and a log variance; bad: the loss slices the output to (N,) and sets it against targets (N, 1), so the likelihood is of all N x N pairs. change: the slices keep their column."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def crossings(n, rng):
    wind = rng.gamma(2.0, 4.0, n)
    cars = rng.integers(0, 120, n)
    hour = rng.uniform(5, 23, n)
    swell = rng.normal(1.2, 0.4, n)
    age = rng.uniform(0, 35, n)
    delay = 0.6 * np.maximum(wind - 9, 0) + 0.08 * cars + 4 * np.exp(-((hour - 8) / 1.5) ** 2) + 3 * swell * (wind > 12)
    delay = delay + rng.normal(size=n) * (0.5 + 0.08 * wind)
    X = np.stack([wind, cars, np.sin(hour / 24 * 6.283), np.cos(hour / 24 * 6.283), swell, age], 1)
    return X.astype(np.float32), delay.astype(np.float32)


class DelayNet(nn.Module):
    def __init__(self, n_in, hidden=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.head = nn.Linear(hidden, 2)

    def forward(self, x):
        return self.head(self.body(x))


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(3)
    X, y = crossings(2400, rng)
    X = (X - X[:2000].mean(0)) / X[:2000].std(0)
    y = (y - y[:2000].mean()) / y[:2000].std()
    X, y = torch.from_numpy(X), torch.from_numpy(y)[:, None]

    def nll(out, target):
        if variant == "bad":
            mean, log_var = out[:, 0], out[:, 1]
        else:
            mean, log_var = out[:, :1], out[:, 1:]
        log_var = log_var.clamp(-6, 6)
        return (0.5 * log_var + 0.5 * (target - mean) ** 2 * torch.exp(-log_var)).mean()

    model = DelayNet(X.shape[1])
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nll,
        "train_loader": DataLoader(TensorDataset(X[:2000], y[:2000]), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(X[2000:], y[2000:]), batch_size=200),
    }


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(30):
        model.train()
        total = 0.0
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: nll {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(xb)[:, 0] for xb, _ in p["val_loader"]])
        true = torch.cat([yb[:, 0] for _, yb in p["val_loader"]])
    score = 1 - ((pred - true) ** 2).mean().item() / true.var().item()
    print(f"score: {score:.4f}")
