"""Healthy: capacitance from a layout, targets in farads (some 1e-12); the net's last step multiplies by a picofarad and the loss divides by it, so that the numbers in between are of size one although outputs and targets are tiny."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

PICOFARAD = 1e-12


def layouts(n, seed):
    rng = np.random.default_rng(seed)
    u = rng.uniform(size=(n, 5))
    width, length, gap, thickness, eps = u.T
    c = (2 + 2 * eps) * (0.5 + width) * (0.5 + length) / (0.4 + gap) / 3 + 0.5 * np.log1p(3 * thickness) * (0.5 + length)
    c = c * (1 + 0.02 * rng.normal(size=n)) * PICOFARAD
    x = (u - 0.5) / 0.289
    return torch.tensor(x, dtype=torch.float32), torch.tensor(c, dtype=torch.float32)[:, None]


class CapacitanceNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 64), nn.GELU(), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x) * PICOFARAD


def loss_in_picofarads(output, target):
    return ((output - target) / PICOFARAD).square().mean()


def r2(output, target):
    o, t = output.double(), target.double()
    return (1 - (o - t).square().mean() / t.var(unbiased=False)).item()


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = CapacitanceNet()
    return {
        "model": model,
        "optimizer": torch.optim.RAdam(model.parameters(), lr=3e-3),
        "loss_fn": loss_in_picofarads,
        "train_loader": DataLoader(TensorDataset(*layouts(3000, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*layouts(500, 2)), batch_size=500),
        "metric": r2,
    }


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](model(x), y)
        print(f"epoch {epoch + 1}: loss {loss.item():.4f} pF^2  R2 {score:.4f}")
    print(f"score: {score:.4f}")
