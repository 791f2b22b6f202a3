"""Grey-box model of a room's temperature: two physical coefficients and a small net for the sun. The start values are set after the optimizer was built, by new nn.Parameter objects, so the optimizer goes on holding the old ones; change: the values are set first."""
import math
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

HOURS = 24


def days(n, seed):
    """x: outdoor temperature, heater power, sun, each hour, and the room's temperature at the start; y: the room's temperature."""
    rng = np.random.default_rng(seed)
    hour = np.arange(HOURS)
    out = rng.normal(size=(n, 1)) + 0.7 * np.sin(2 * np.pi * (hour - 9) / 24) + 0.2 * rng.normal(size=(n, HOURS))
    heat = (rng.random((n, HOURS // 4)) < 0.4).repeat(4, 1) * rng.uniform(0.3, 1.0, (n, 1))
    sun = np.clip(np.sin(np.pi * (hour - 6) / 12), 0, None) * rng.uniform(0, 1, (n, 1))
    start = 0.5 * rng.normal(size=(n, 1))
    room, y = start[:, 0].copy(), np.zeros((n, HOURS))
    for h in range(HOURS):
        room = room + 0.20 * (out[:, h] - room) + 0.60 * heat[:, h] + 0.25 * sun[:, h] ** 2
        y[:, h] = room
    y = y + 0.03 * rng.normal(size=y.shape)
    x = np.stack([out, heat, sun, start.repeat(HOURS, 1)], -1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


class Room(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_loss = nn.Parameter(torch.zeros(()))
        self.log_gain = nn.Parameter(torch.zeros(()))
        self.solar = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    def set_prior(self, loss, gain):
        self.log_loss = nn.Parameter(torch.tensor(math.log(loss)))
        self.log_gain = nn.Parameter(torch.tensor(math.log(gain)))

    def forward(self, x):
        room, path = x[:, 0, 3], []
        solar = 0.2 * self.solar(x[..., 2:3]).squeeze(-1)
        for h in range(x.shape[1]):
            room = room + self.log_loss.exp() * (x[:, h, 0] - room) + self.log_gain.exp() * x[:, h, 1] + solar[:, h]
            path.append(room)
        return torch.stack(path, 1)


def parts(variant):
    torch.manual_seed(0)
    model = Room()
    if variant == "bad":
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        model.set_prior(loss=0.05, gain=0.15)
    else:
        model.set_prior(loss=0.05, gain=0.15)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*days(640, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*days(200, 2)), batch_size=200),
        "metric": lambda output, target: (1 - F.mse_loss(output, target) / target.var()).item(),
    }


def evaluate(p):
    p["model"].eval()
    with torch.no_grad():
        return float(np.mean([p["metric"](p["model"](x), y) for x, y in p["val_loader"]]))


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(25):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(p["model"].parameters(), 5.0)
            p["optimizer"].step()
        m = p["model"]
        print(f"epoch {epoch + 1}: mse {loss.item():.4f}, loss {m.log_loss.exp().item():.3f}, gain {m.log_gain.exp().item():.3f}, R2 {evaluate(p):.3f}")
    print(f"score: {evaluate(p):.4f}")
