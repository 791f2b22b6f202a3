"""Metric learning: a small transformer maps one-minute accelerometer pieces from pelicans' loggers to embeddings in which pieces of the same behaviour lie together (supervised contrastive loss, scored by nearest neighbours).
The hand-written layer norm takes mean and variance along the time axis, after which the average over time is the same for every piece; the right change: normalise over the features of each time step (dim=-1)."""
import math
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
BEHAVIOURS = ("flap", "glide", "float", "dive", "preen")


def logger_pieces(n, seed, steps=60):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, len(BEHAVIOURS), (n,), generator=g)
    t = torch.arange(steps).float()
    freq = torch.tensor([0.30, 0.03, 0.08, 0.02, 0.22])[y] * (0.85 + 0.3 * torch.rand(n, generator=g))
    size = torch.tensor([1.2, 0.2, 0.5, 0.3, 0.8])[y] * (0.7 + 0.6 * torch.rand(n, generator=g))
    pitch = torch.tensor([0.2, 0.3, 0.0, -0.7, 0.1])[y] + 0.25 * torch.randn(n, generator=g)
    wave = size[:, None] * torch.sin(2 * math.pi * freq[:, None] * t + 6.28 * torch.rand(n, 1, generator=g))
    heave = wave + pitch.cos()[:, None]
    surge = 0.3 * wave.roll(2, 1) + pitch.sin()[:, None]
    sway = (y == 4).float()[:, None] * 0.5 * wave.roll(5, 1)
    x = torch.stack([heave, surge, sway], -1)
    return TensorDataset(x + 0.35 * torch.randn(x.shape, generator=g), y)


class Norm(nn.Module):
    def __init__(self, features, dim, eps=1e-5):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(features))
        self.shift = nn.Parameter(torch.zeros(features))
        self.dim, self.eps = dim, eps

    def forward(self, x):
        mean = x.mean(self.dim, keepdim=True)
        var = x.var(self.dim, keepdim=True, unbiased=False)
        return self.gain * (x - mean) / torch.sqrt(var + self.eps) + self.shift


class Block(nn.Module):
    def __init__(self, d, norm_dim):
        super().__init__()
        self.norm1, self.norm2 = Norm(d, norm_dim), Norm(d, norm_dim)
        self.attn = nn.MultiheadAttention(d, 2, batch_first=True)
        self.ff = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.ff(self.norm2(x))


class Embedder(nn.Module):
    def __init__(self, norm_dim, d=32, steps=60, out=12):
        super().__init__()
        self.patch = nn.Conv1d(3, d, 6, stride=3)
        self.place = nn.Parameter(0.02 * torch.randn((steps - 6) // 3 + 1, d))
        self.blocks = nn.Sequential(*[Block(d, norm_dim) for _ in range(2)])
        self.norm = Norm(d, norm_dim)
        self.project = nn.Linear(d, out)

    def forward(self, x):
        h = self.patch(x.transpose(1, 2)).transpose(1, 2) + self.place
        h = self.norm(self.blocks(h))
        return F.normalize(self.project(h.mean(1)), dim=-1)


def training_step(model, batch, temperature=0.2):
    x, y = batch
    z = model(x)
    own = torch.eye(len(z), dtype=torch.bool)
    sim = (z @ z.T / temperature).masked_fill(own, -1e9)
    same = (y[:, None] == y[None, :]) & ~own
    logp = sim - sim.logsumexp(1, keepdim=True)
    return -((logp * same).sum(1) / same.sum(1).clamp(min=1)).mean()


def parts(variant):
    torch.manual_seed(5)
    model = Embedder(norm_dim=1 if variant == "bad" else -1)
    return {"model": model, "training_step": training_step,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
            "train_loader": DataLoader(logger_pieces(1600, 1), batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(logger_pieces(500, 2), batch_size=500)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch}: contrastive loss {total / len(p['train_loader']):.3f}")
    model.eval()
    with torch.no_grad():
        bank_x, bank_y = p["train_loader"].dataset.tensors
        x, y = next(iter(p["val_loader"]))
        near = (model(x) @ model(bank_x).T).topk(9, dim=1).indices
        guess = bank_y[near].mode(1).values
    print("score:", (guess == y).float().mean().item())
