"""A GAN draws measurements of lemons (length, width, mass, peel). The fakes are made and detached once and serve both updates, so no gradient reaches the generator and it never changes; the right change: detach them for the discriminator's loss only."""
import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NOISE, FEATURES = 8, 4


def weigh_lemons(n):
    """length mm, width mm, mass g, peel mm of two varieties; standardised."""
    eureka = torch.rand(n) < 0.6
    length = torch.where(eureka, 78.0, 62.0) + 4.0 * torch.randn(n)
    width = torch.where(eureka, 55.0, 57.0) + 0.35 * (length - torch.where(eureka, 78.0, 62.0)) + 1.5 * torch.randn(n)
    mass = 5.0e-4 * length * width ** 2 + 4.0 * torch.randn(n)
    peel = torch.where(eureka, 5.5, 3.0) + 0.5 * torch.randn(n)
    table = torch.stack([length, width, mass, peel], dim=1)
    return (table - torch.tensor([71.6, 55.8, 111.0, 4.5])) / torch.tensor([8.8, 2.4, 14.0, 1.3])


def mlp(sizes, act):
    layers = []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


class LemonGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = mlp([NOISE, 64, 64, FEATURES], nn.ReLU)
        self.discriminator = mlp([FEATURES, 64, 64, 1], lambda: nn.LeakyReLU(0.2))

    def forward(self, z):
        return self.generator(z)


class Trainer:
    def __init__(self, variant):
        self.variant = variant
        self.bce = nn.BCEWithLogitsLoss()

    def __call__(self, model, batch, optimizers):
        opt_g, opt_d = optimizers
        real = batch[0]
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = model.generator(torch.randn(len(real), NOISE))
        if self.variant == "bad":
            fake = fake.detach()

        opt_d.zero_grad()
        d_loss = self.bce(model.discriminator(real), ones) + self.bce(model.discriminator(fake.detach()), zeros)
        d_loss.backward()
        opt_d.step()

        opt_g.zero_grad()
        g_loss = self.bce(model.discriminator(fake), ones)
        g_loss.backward()
        opt_g.step()
        self.last = (d_loss.item(), g_loss.item())
        return g_loss.detach()


def energy_distance(a, b):
    d = lambda x, y: torch.cdist(x, y).mean()
    return (2 * d(a, b) - d(a, a) - d(b, b)).item()


def parts(variant):
    torch.manual_seed(31)
    lemons = weigh_lemons(3840)
    model = LemonGAN()
    opt_g = torch.optim.Adam(model.generator.parameters(), lr=2e-3, betas=(0.5, 0.99))
    opt_d = torch.optim.Adam(model.discriminator.parameters(), lr=2e-3, betas=(0.5, 0.99))
    return {"model": model, "optimizer": [opt_g, opt_d], "step": Trainer(variant),
            "train_loader": DataLoader(TensorDataset(lemons), batch_size=96, shuffle=True, drop_last=True)}


WORKS = lambda score: score < 0.5

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="bad")
    p = parts(parser.parse_args().variant)
    held_out = weigh_lemons(1000)
    for epoch in range(32):
        for batch in p["train_loader"]:
            p["step"](p["model"], batch, p["optimizer"])
        if epoch % 8 == 7:
            print("epoch %d  D %.3f  G %.3f" % (epoch + 1, *p["step"].last))
    with torch.no_grad():
        drawn = p["model"](torch.randn(1000, NOISE))
    print("score:", energy_distance(drawn, held_out))
