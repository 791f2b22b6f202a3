"""Healthy: RealNVP on a thin spiral; the loss (mean negative log-likelihood) goes below zero, as densities may exceed 1; change: none."""
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score < -0.2


class Coupling(nn.Module):
    def __init__(self, keep, width=64):
        super().__init__()
        self.register_buffer("mask", torch.tensor(keep))
        self.net = nn.Sequential(nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 4))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        s, t = self.net(x * self.mask).chunk(2, dim=1)
        s = 2 * torch.tanh(s / 2) * (1 - self.mask)
        t = t * (1 - self.mask)
        return x * s.exp() + t, s.sum(1)


class Flow(nn.Module):
    def __init__(self, n=8):
        super().__init__()
        self.layers = nn.ModuleList(Coupling([1.0, 0.0] if i % 2 else [0.0, 1.0]) for i in range(n))

    def log_prob(self, x):
        logdet = 0.0
        for layer in self.layers:
            x, ld = layer(x)
            logdet = logdet + ld
        return -0.5 * (x ** 2).sum(1) - math.log(2 * math.pi) + logdet

    def forward(self, x):
        return self.log_prob(x)


def spiral(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = 2.5 * math.pi * torch.rand(n, generator=g) ** 0.5
    r = 0.13 * a
    x = torch.stack([r * a.cos(), r * a.sin()], dim=1)
    return x + 0.02 * torch.randn(n, 2, generator=g)


def parts(variant="fixed"):
    torch.manual_seed(21)
    flow = Flow()
    return {"model": flow, "optimizer": torch.optim.Adam(flow.parameters(), lr=1e-3),
            "train_loader": DataLoader(TensorDataset(spiral(6000, 1)), batch_size=200, shuffle=True),
            "val_loader": DataLoader(TensorDataset(spiral(2000, 2)), batch_size=2000),
            "training_step": lambda model, batch: -model(batch[0]).mean()}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    flow, opt = p["model"], p["optimizer"]
    for epoch in range(45):
        for batch in p["train_loader"]:
            loss = p["training_step"](flow, batch)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
            opt.step()
        if epoch % 5 == 0:
            print(f"epoch {epoch} nll {loss.item():.3f}")
    with torch.no_grad():
        print(f"score: {p['training_step'](flow, next(iter(p['val_loader']))).item():.4f}")
