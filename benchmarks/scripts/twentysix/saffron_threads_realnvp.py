"""Affine coupling flow (RealNVP) as a density of saffron threads: length, width, weight, redness, moisture and trumpet opening, for telling off odd lots later. Every coupling layer is built with the same mask, so the first, third and fifth measurement pass through the whole flow untouched; the right change: swap the halves from layer to layer (mask if i % 2 == 0 else 1 - mask)."""
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
DIM = 6


def weigh_threads(n, gen):
    """Two harvests (early and late), thread by thread."""
    late = (torch.rand(n, generator=gen) < 0.4).float()
    e = torch.randn(n, DIM, generator=gen)
    length = 28 + 9 * late + 2.0 * e[:, 0]
    width = 0.9 + 0.02 * (length - 30) + 0.05 * e[:, 1]
    weight = 0.004 * length * width ** 2 * torch.exp(0.08 * e[:, 2])
    redness = 0.55 + 0.25 * torch.sin(0.35 * (length - 28)) + 0.03 * e[:, 3]
    moisture = 9.0 + 40 * (weight - 0.12) + 2.5 * late + 0.3 * e[:, 4]
    opening = 0.3 * moisture * redness + 0.15 * e[:, 5]
    return torch.stack([length, width, weight, redness, moisture, opening], 1)


class Coupling(nn.Module):
    def __init__(self, mask, hidden):
        super().__init__()
        self.register_buffer("mask", mask)
        self.net = nn.Sequential(nn.Linear(DIM, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                                 nn.Linear(hidden, 2 * DIM))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        s, t = self.net(x * self.mask).chunk(2, dim=1)
        s = 2.0 * torch.tanh(s / 2.0) * (1 - self.mask)
        t = t * (1 - self.mask)
        return x * torch.exp(s) + t, s.sum(1)


class RealNVP(nn.Module):
    def __init__(self, masks, hidden=32):
        super().__init__()
        self.layers = nn.ModuleList([Coupling(m, hidden) for m in masks])

    def forward(self, x):
        """log-density of each row"""
        logdet = torch.zeros(len(x))
        for layer in self.layers:
            x, ld = layer(x)
            logdet = logdet + ld
        return (-0.5 * x.pow(2) - 0.5 * math.log(2 * math.pi)).sum(1) + logdet


def nll(model, batch):
    (x,) = batch
    return -model(x).mean()


def parts(variant):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(11)
    train, held = weigh_threads(3200, gen), weigh_threads(800, gen)
    mean, std = train.mean(0), train.std(0)
    train, held = (train - mean) / std, (held - mean) / std
    mask = (torch.arange(DIM) % 2 == 0).float()
    if variant == "bad":
        masks = [mask for i in range(6)]
    else:
        masks = [mask if i % 2 == 0 else 1 - mask for i in range(6)]
    model = RealNVP(masks)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "training_step": nll,
            "train_loader": DataLoader(TensorDataset(train), batch_size=160, shuffle=True),
            "val_loader": DataLoader(TensorDataset(held), batch_size=400)}


WORKS = lambda score: score > -2.3

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    epochs = 14
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, epochs)
    for epoch in range(epochs):
        model.train()
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
        sched.step()
        model.eval()
        with torch.no_grad():
            held = torch.cat([model(b[0]) for b in p["val_loader"]]).mean().item()
        if epoch % 3 == 1:
            print(f"epoch {epoch + 1}: train nll {loss.item():.3f}, held-out log-likelihood {held:.3f}")
    print("score:", held)
