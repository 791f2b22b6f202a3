"""GAN that draws length, width, cup depth and weight of acorns of two kinds of oak. The generator ends in Tanh, but the measurements go to the discriminator in millimetres and grams, outside of (-1, 1), so the generator cannot get near them and the discriminator wins at once; the right change: scale the measurements to (-1, 1) (and back when drawing)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NOISE = 8
LOW = np.array([10.0, 6.0, 2.0, 0.5])
HIGH = np.array([42.0, 26.0, 16.0, 9.5])


def collect_acorns(n, seed):
    rng = np.random.default_rng(seed)
    sessile = rng.random(n) < 0.5
    length = np.where(sessile, rng.normal(20, 1.8, n), rng.normal(31, 2.4, n))
    width = np.where(sessile, 0.70, 0.52) * length + rng.normal(0, 0.8, n)
    cup = 0.35 * width + rng.normal(2.0, 0.6, n)
    weight = 0.00052 * length * width ** 2 + rng.normal(0, 0.2, n)
    return np.clip(np.stack([length, width, cup, weight], 1), LOW, HIGH)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(NOISE, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2),
                                 nn.Linear(64, 4), nn.Tanh())

    def forward(self, z):
        return self.net(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


class AcornGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G = Generator()
        self.D = Discriminator()

    def forward(self, z):
        return self.G(z)


bce = nn.BCEWithLogitsLoss()


def gan_step(model, batch, optimizer):
    (real,) = batch
    opt_g, opt_d = optimizer
    n = len(real)
    fake = model.G(torch.randn(n, NOISE))
    d_loss = bce(model.D(real), torch.full((n,), 0.9)) + bce(model.D(fake.detach()), torch.zeros(n))
    opt_d.zero_grad()
    d_loss.backward()
    opt_d.step()
    g_loss = bce(model.D(fake), torch.ones(n))
    opt_g.zero_grad()
    g_loss.backward()
    opt_g.step()
    return g_loss


def parts(variant, seed=0):
    torch.manual_seed(seed)
    acorns = collect_acorns(2000, 0)
    if variant != "bad":
        acorns = 2 * (acorns - LOW) / (HIGH - LOW) - 1
    model = AcornGAN()
    optimizer = (torch.optim.Adam(model.G.parameters(), lr=5e-4, betas=(0.5, 0.999)),
                 torch.optim.Adam(model.D.parameters(), lr=5e-4, betas=(0.5, 0.999)))
    loader = DataLoader(TensorDataset(torch.tensor(acorns, dtype=torch.float32)), batch_size=64, shuffle=True, drop_last=True)
    return {"model": model, "optimizer": optimizer, "train_loader": loader, "step": gan_step}


def distance(drawn, held_out):
    """mean over the columns of the 1-D Wasserstein distance, in standard deviations"""
    return float(np.mean(np.abs(np.sort(drawn, 0) - np.sort(held_out, 0)).mean(0) / held_out.std(0)))


WORKS = lambda score: score < 0.35

if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else "bad"
    p = parts(variant, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    held_out = collect_acorns(1000, 1)
    for epoch in range(60):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 10 == 9:
            with torch.no_grad():
                drawn = p["model"](torch.randn(1000, NOISE)).numpy()
            if variant != "bad":
                drawn = (drawn + 1) / 2 * (HIGH - LOW) + LOW
            score = distance(drawn, held_out)
            print(f"epoch {epoch + 1}: g {loss.item():.3f} distance {score:.3f}")
    print("score:", score)
