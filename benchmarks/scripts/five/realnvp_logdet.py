"""RealNVP density of a spiral; the log-determinant of a coupling is summed over the batch too, so it counts 256 times against the prior's term; change: sums over the features only."""
import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Coupling(nn.Module):
    def __init__(self, flip, hidden=64):
        super().__init__()
        self.flip = flip
        self.net = nn.Sequential(nn.Linear(1, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, hidden), nn.LeakyReLU(0.1), nn.Linear(hidden, 2))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        if self.flip:
            a, b = b, a
        s, t = self.net(a).chunk(2, dim=1)
        s = self.scale * torch.tanh(s)
        b = b * torch.exp(s) + t
        return torch.cat([b, a] if self.flip else [a, b], dim=1), s


class RealNVP(nn.Module):
    def __init__(self, variant, depth=8):
        super().__init__()
        self.variant = variant
        self.layers = nn.ModuleList(Coupling(i % 2 == 1) for i in range(depth))
        self.register_buffer("zero", torch.zeros(2))

    def forward(self, x):
        log_det = 0.0
        for layer in self.layers:
            x, s = layer(x)
            log_det = log_det + (s.sum() if self.variant == "bad" else s.sum(1))
        return x, log_det

    def log_prob(self, x):
        z, log_det = self(x)
        prior = torch.distributions.MultivariateNormal(self.zero, torch.eye(2))
        return prior.log_prob(z) + log_det


def spiral(n, seed):
    r = np.random.RandomState(seed)
    th = np.sqrt(r.rand(n)) * 3 * np.pi
    xy = np.stack([th * np.cos(th), th * np.sin(th)], 1) / 5 + 0.06 * r.randn(n, 2)
    return torch.tensor(xy, dtype=torch.float32)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = RealNVP(variant)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(TensorDataset(spiral(8192, 0)), batch_size=256, shuffle=True),
        "val_loader": DataLoader(TensorDataset(spiral(2048, 1)), batch_size=2048),
        "training_step": lambda model, batch: -model.log_prob(batch[0]).mean(),
    }


@torch.no_grad()
def held_out_nll(model, loader):
    """Nats a point, each point's own log-determinant."""
    total, n = 0.0, 0
    for (x,) in loader:
        ld = torch.zeros(len(x))
        for layer in model.layers:
            x, s = layer(x)
            ld += s.sum(1)
        total += (0.5 * (x ** 2).sum(1) + np.log(2 * np.pi) - ld).sum().item()
        n += len(x)
    return total / n


WORKS = lambda score: score < 2.2

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=50)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(args.epochs):
        running = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            running += loss.item()
        if epoch % 5 == 0:
            print(f"[{epoch:02d}] nll {running / len(p['train_loader']):.3f}")
    print(f"score: {held_out_nll(model, p['val_loader']):.4f}")
