"""GAN that draws outlines of pretzels: 24 distances from the centre, with three lobes, a bulge and a slant that differ from piece to piece.
The fakes are cut off the graph once and for both losses, so the loss of the generator never reaches the generator; the right change: detach them in the discriminator's loss only (D(fake.detach()) there, D(fake) for the generator)."""
import math
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
POINTS, NOISE = 24, 8


def bake(n, seed):
    g = torch.Generator().manual_seed(seed)
    theta = torch.arange(POINTS) * 2 * math.pi / POINTS
    lobes = 0.6 + 0.15 * torch.randn(n, 1, generator=g)
    bulge = 0.35 * torch.randn(n, 1, generator=g)
    slant = 0.25 * torch.randn(n, 1, generator=g)
    size = 0.2 * torch.randn(n, 1, generator=g)
    r = size + lobes * torch.cos(3 * theta) + bulge * torch.cos(2 * theta) + slant * torch.sin(theta)
    return r + 0.05 * torch.randn(n, POINTS, generator=g)


class Generator(nn.Sequential):
    def __init__(self, hidden=64):
        super().__init__(nn.Linear(NOISE, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, POINTS))


class Discriminator(nn.Sequential):
    def __init__(self, hidden=64):
        super().__init__(nn.Linear(POINTS, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))


def make_step(keep_graph):
    def step(model, batch, optimizer):
        g_opt, d_opt = optimizer
        real, = batch
        G, D = model["G"], model["D"]
        fake = G(torch.randn(len(real), NOISE))
        if not keep_graph:
            fake = fake.detach()

        d_loss = F.softplus(-D(real)).mean() + F.softplus(D(fake.detach())).mean()
        d_opt.zero_grad()
        d_loss.backward()
        d_opt.step()

        g_loss = F.softplus(-D(fake)).mean()
        g_opt.zero_grad()
        g_loss.backward()
        g_opt.step()
        return d_loss.detach() + g_loss.detach()
    return step


def parts(variant):
    torch.manual_seed(6)
    model = nn.ModuleDict({"G": Generator(), "D": Discriminator()})
    g_opt = torch.optim.Adam(model["G"].parameters(), lr=1e-3, betas=(0.5, 0.99))
    d_opt = torch.optim.Adam(model["D"].parameters(), lr=1e-3, betas=(0.5, 0.99))
    return {"model": model, "optimizer": (g_opt, d_opt), "step": make_step(keep_graph=variant != "bad"),
            "train_loader": DataLoader(TensorDataset(bake(4000, 1)), batch_size=64, shuffle=True, drop_last=True)}


WORKS = lambda score: score < 1.0       # distance of the fakes from fresh pretzels


@torch.no_grad()
def energy_distance(G, real):
    fake = G(torch.randn(len(real), NOISE))
    cross, within = torch.cdist(real, fake).mean(), torch.cdist(real, real).mean() + torch.cdist(fake, fake).mean()
    return (2 * cross - within).clamp(min=0).sqrt().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    fresh = bake(1000, 2)
    for epoch in range(25):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: losses {loss:.3f}, distance {energy_distance(p['model']['G'], fresh):.3f}")
    print("score:", energy_distance(p["model"]["G"], fresh))
