"""Test bench of an engine: consumption, emission and knock from one trunk with three heads, Adam; inside the loop over the tasks the total is assigned instead of added to, so only the last task is learnt; change: += ."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

TASKS = {"consumption": 1.0, "emission": 1.0, "knock": 0.5}      # weights


def bench(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, 9))
    rpm, load, spark, lam, temp = x[:, :5].T
    consumption = 0.8 * load + 0.6 * rpm * load - 0.5 * np.tanh(2 * spark) + 0.4 * lam ** 2
    emission = np.tanh(temp + 0.7 * load) * (1 + 0.5 * lam) - 0.5 * np.abs(rpm)
    consumption += rng.normal(0, 0.15, n)
    emission += rng.normal(0, 0.15, n)
    knock = (spark + 0.8 * load * temp + 0.3 * rng.normal(0, 1, n) > 0).astype(np.float32)
    targets = np.stack([(consumption - 0.4) / 1.25, (emission + 0.15) / 0.95, knock], 1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32)


class Bench(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(9, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(96, 1) for name in TASKS})

    def forward(self, x):
        h = self.trunk(x)
        return {name: head(h).squeeze(1) for name, head in self.heads.items()}


def task_loss(name, out, target):
    if name == "knock":
        return F.binary_cross_entropy_with_logits(out, target)
    return F.mse_loss(out, target)


def summed_step(model, batch):
    x, y = batch
    outputs, total = model(x), 0.0
    for column, (name, weight) in enumerate(TASKS.items()):
        total += weight * task_loss(name, outputs[name], y[:, column])
    return total


def assigned_step(model, batch):
    x, y = batch
    outputs, total = model(x), 0.0
    for column, (name, weight) in enumerate(TASKS.items()):
        total = weight * task_loss(name, outputs[name], y[:, column])
    return total


def parts(variant):
    torch.manual_seed(0)
    model = Bench()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(TensorDataset(*bench(4000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*bench(1000, 2)), batch_size=500),
        "training_step": assigned_step if variant == "bad" else summed_step,
    }


WORKS = lambda score: score > 0.7


@torch.no_grad()
def skills(model, loader):
    """per task the share of the error of guessing that is gone"""
    model.eval()
    x, y = (torch.cat(v) for v in zip(*loader))
    out = model(x)
    result = {}
    for column, name in enumerate(TASKS):
        t = y[:, column]
        if name == "knock":
            wrong = ((out[name] > 0).float() != t).float().mean()
            result[name] = (1 - wrong / 0.5).item()
        else:
            result[name] = (1 - F.mse_loss(out[name], t) / t.var()).item()
    model.train()
    return result


def fit(p, epochs):
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(epochs):
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, f"loss {loss.item():.4f}", {k: round(v, 3) for k, v in skills(model, p["val_loader"]).items()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    fit(p, 15)
    s = skills(p["model"], p["val_loader"])
    print(f"score: {sum(s.values()) / len(s):.4f}")
