"""Healthy: a net gives an ensemble of 16 members of the rain to come and is trained by the CRPS; members (N, 16) against the observation (N, 1), and members against members (N, 16, 16), broadcast on purpose."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

MEMBERS = 16


def weather(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8))
    level = np.sin(x[:, 0]) + 0.6 * x[:, 1] * x[:, 2]
    spread = 0.15 + 0.5 / (1 + np.exp(-2 * x[:, 3]))
    y = level + spread * rng.gumbel(size=n)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y - 0.2, dtype=torch.float32)[:, None]


class EnsembleHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 64), nn.ELU(), nn.Linear(64, 64), nn.ELU())
        self.members = nn.Linear(64, MEMBERS)

    def forward(self, x):
        return self.members(self.body(x))


def crps(members, y):
    """E|X - y| - E|X - X'| / 2, over the members."""
    error = (members - y).abs().mean(1)
    spread = (members[:, :, None] - members[:, None, :]).abs().sum((1, 2)) / (MEMBERS * (MEMBERS - 1))
    return (error - 0.5 * spread).mean()


def climatology(y):
    """CRPS of the sample of all observations."""
    y = y.flatten()
    return 0.5 * (y[:, None] - y[None, :]).abs().mean()


def skill(output, target):
    return (1 - crps(output, target) / climatology(target)).item()


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = EnsembleHead()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": crps,
        "train_loader": DataLoader(TensorDataset(*weather(4000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*weather(800, 2)), batch_size=800),
        "metric": skill,
    }


WORKS = lambda score: score > 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            value = p["metric"](model(x), y)
        print(f"epoch {epoch + 1}: CRPS {total / len(p['train_loader']):.4f}  skill {value:.3f}")
    print(f"score: {value:.4f}")
