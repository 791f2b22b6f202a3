"""Diffusion in the EDM form on 2-D positions of thunder cells: log-normal noise levels, preconditioned denoiser (c_skip, c_out, c_in, c_noise), loss weighted by 1/c_out^2, sampled with Heun's method. Unusual: the weighted loss stays near a constant while samples get good; an EMA of the weights makes the samples."""
import copy
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SD = 1.0            # the data are standardised


def cells(n, rng):
    """two arcs, like the two arms of a squall line"""
    a = rng.uniform(0, np.pi, n)
    side = rng.random(n) < 0.5
    x = np.where(side, np.cos(a), 1 - np.cos(a))
    y = np.where(side, np.sin(a), 0.5 - np.sin(a))
    p = np.stack([x, y], 1) + rng.normal(0, 0.05, (n, 2))
    return ((p - [0.5, 0.25]) / [0.87, 0.5]).astype(np.float32)


class Denoiser(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.register_buffer("freq", torch.randn(8))
        self.net = nn.Sequential(nn.Linear(2 + 16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, x, sigma):
        sigma = sigma.view(-1, 1)
        c_skip = SD ** 2 / (sigma ** 2 + SD ** 2)
        c_out = sigma * SD / (sigma ** 2 + SD ** 2).sqrt()
        c_in = 1 / (sigma ** 2 + SD ** 2).sqrt()
        c_noise = sigma.log() / 4 * self.freq * 2 * np.pi
        f = self.net(torch.cat([c_in * x, c_noise.cos(), c_noise.sin()], 1))
        return c_skip * x + c_out * f


def training_step(model, batch):
    x = batch[0]
    sigma = (torch.randn(len(x), 1) * 1.2 - 1.2).exp()
    weight = (sigma ** 2 + SD ** 2) / (sigma * SD) ** 2
    out = model(x + sigma * torch.randn_like(x), sigma)
    return (weight * (out - x) ** 2).mean()


@torch.no_grad()
def sample(model, n, steps=25, lo=0.01, hi=20.0, rho=7):
    i = torch.arange(steps) / (steps - 1)
    t = (hi ** (1 / rho) + i * (lo ** (1 / rho) - hi ** (1 / rho))) ** rho
    t = torch.cat([t, torch.zeros(1)])
    x = torch.randn(n, 2) * t[0]
    for a, b in zip(t[:-1], t[1:]):
        d = (x - model(x, a.repeat(n))) / a
        nxt = x + (b - a) * d
        if b > 0:
            d2 = (nxt - model(nxt, b.repeat(n))) / b
            nxt = x + (b - a) * 0.5 * (d + d2)
        x = nxt
    return x


def parts(variant):
    torch.manual_seed(0)
    model = Denoiser()
    data = torch.from_numpy(cells(20000, np.random.default_rng(0)))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(data), batch_size=200, shuffle=True)}


WORKS = lambda score: score < 0.06


def nearest_both_ways(a, b):
    d = torch.cdist(a, b)
    return (0.5 * (d.min(1).values.mean() + d.min(0).values.mean())).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    ema = copy.deepcopy(model)
    for epoch in range(15):
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            with torch.no_grad():
                for e, w in zip(ema.parameters(), model.parameters()):
                    e.lerp_(w, 0.01)
            losses.append(loss.item())
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}")
    fresh = torch.from_numpy(cells(1500, np.random.default_rng(1)))
    print("noise alone:", nearest_both_ways(torch.randn(1500, 2), fresh))
    print("score:", nearest_both_ways(sample(ema, 1500), fresh))
