"""GAN that draws pairs of raindrop diameter and fall speed as a disdrometer measures them. An ordinary sound script: discriminator on real drops and detached fakes, generator with the non-saturating loss; the score is minus the sliced Wasserstein distance to held-out drops (standardised)."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NOISE = 4


def measure_drops(n, gen):
    diameter = 0.3 + 2.2 * torch.rand(n, generator=gen) ** 1.5
    speed = 9.65 - 10.3 * torch.exp(-0.6 * diameter)
    speed = speed + 0.35 * torch.randn(n, generator=gen)
    return torch.stack([diameter, speed], 1)


def mlp(sizes, act):
    layers = []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


class DropGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = mlp([NOISE, 48, 48, 2], nn.ReLU)
        self.discriminator = mlp([2, 48, 48, 1], lambda: nn.LeakyReLU(0.2))

    def forward(self, n):
        return self.generator(torch.randn(n, NOISE))


def make_step(optimizer_d):
    def step(model, batch, optimizer):
        real = batch[0]
        n = len(real)
        ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)

        fake = model(n)
        optimizer_d.zero_grad()
        loss_d = (F.binary_cross_entropy_with_logits(model.discriminator(real), ones)
                  + F.binary_cross_entropy_with_logits(model.discriminator(fake.detach()), zeros))
        loss_d.backward()
        optimizer_d.step()

        optimizer.zero_grad()
        loss_g = F.binary_cross_entropy_with_logits(model.discriminator(fake), ones)
        loss_g.backward()
        optimizer.step()
        return loss_g.detach()
    return step


def sliced_distance(a, b, directions=64):
    gen = torch.Generator().manual_seed(9)
    w = F.normalize(torch.randn(2, directions, generator=gen), dim=0)
    return ((a @ w).sort(0).values - (b @ w).sort(0).values).abs().mean().item()


def parts(variant):
    torch.manual_seed(2)
    gen = torch.Generator().manual_seed(21)
    drops, held_out = measure_drops(4000, gen), measure_drops(1000, gen)
    mean, std = drops.mean(0), drops.std(0)
    model = DropGAN()
    optimizer_g = torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    optimizer_d = torch.optim.Adam(model.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    return {"model": model, "optimizer": optimizer_g, "step": make_step(optimizer_d),
            "train_loader": DataLoader(TensorDataset((drops - mean) / std), batch_size=100, shuffle=True, drop_last=True),
            "held_out": (held_out - mean) / std}


WORKS = lambda score: score > -0.3

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(16):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            score = -sliced_distance(p["model"](len(p["held_out"])), p["held_out"])
        if epoch % 3 == 0:
            print(f"epoch {epoch}: generator loss {loss:.3f}, minus distance {score:.3f}")
    print("score:", score)
