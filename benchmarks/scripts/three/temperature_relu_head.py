"""Temperature anomaly of the next day, 1-d CNN; a ReLU after the last layer while the standardised target is negative half the time; change: the twin ends with the linear layer."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def anomalies(days=2600, seed=6):
    """An autoregressive series with a few stations that lead it."""
    rng = np.random.default_rng(seed)
    z = np.zeros((days, 4))
    for t in range(2, days):
        west = 0.9 * z[t - 1, 1] + 0.5 * rng.normal()
        south = 1.3 * z[t - 1, 2] - 0.55 * z[t - 2, 2] + 0.4 * rng.normal()
        press = 0.7 * z[t - 1, 3] + 0.5 * rng.normal()
        here = 0.55 * z[t - 1, 0] + 0.6 * z[t - 1, 1] - 0.5 * z[t - 2, 2] * np.tanh(z[t - 1, 3]) + 0.15 * rng.normal()
        z[t] = here, west, south, press
    return (z - z.mean(0)) / z.std(0)


def build(channels=24, final=None):
    layers = [nn.Conv1d(4, channels, 3), nn.ReLU(), nn.Conv1d(channels, channels, 3), nn.ReLU(),
              nn.Flatten(), nn.Linear(channels * 6, 32), nn.ReLU(), nn.Linear(32, 1)]
    if final is not None:
        layers.append(final)
    return nn.Sequential(*layers)


def parts(variant):
    torch.manual_seed(0)
    z = torch.tensor(anomalies(), dtype=torch.float32)
    x = z[:-1].unfold(0, 10, 1)                    # (days, station, 10 days)
    y = z[10:, :1]
    net = build(final=nn.ReLU() if variant == "bad" else None)
    return {"model": net, "loss_fn": nn.MSELoss(), "optimizer": torch.optim.RMSprop(net.parameters(), lr=1e-3),
            "train_loader": DataLoader(TensorDataset(x[:2000], y[:2000]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[2000:], y[2000:]), batch_size=300)}


WORKS = lambda score: score > 0.75       # R2 of the last 590 days

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        net.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = mse(net(x), y)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            out = torch.cat([net(x) for x, _ in p["val_loader"]])
            y = torch.cat([y for _, y in p["val_loader"]])
        score = 1 - ((out - y) ** 2).mean().item() / y.var().item()
        if epoch % 3 == 0:
            print(f"epoch {epoch} last loss {loss.item():.4f} val R2 {score:.3f}")
    print(f"score: {score:.4f}")
