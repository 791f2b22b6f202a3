"""A GAN that makes measurements of snowflake arms (length, branch angle), a bent cloud of points. A sound program: the fakes are detached for the discriminator and fresh for the generator, each of the two Adams is cleared and stepped with its own loss, logits with BCEWithLogits. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NOISE = 8


def measure_arms(n, seed):
    rng = np.random.default_rng(seed)
    length = rng.normal(0, 1, n)
    angle = 0.6 * length ** 2 - 0.6 + rng.normal(0, 0.35, n)
    return torch.tensor(np.stack([length, angle], 1), dtype=torch.float32)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(NOISE, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2))

    def forward(self, z):
        return self.net(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


class SnowflakeGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = Generator(), Discriminator()

    def forward(self, z):
        return self.generator(z)


def step(model, batch, optimizer):
    real = batch[0]
    g, d = model.generator, model.discriminator
    fake = g(torch.randn(len(real), NOISE))

    judged_real, judged_fake = d(real), d(fake.detach())
    loss_d = (F.binary_cross_entropy_with_logits(judged_real, torch.ones_like(judged_real))
              + F.binary_cross_entropy_with_logits(judged_fake, torch.zeros_like(judged_fake)))
    optimizer["d"].zero_grad()
    loss_d.backward()
    optimizer["d"].step()

    judged = d(fake)
    loss_g = F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
    optimizer["g"].zero_grad()
    loss_g.backward()
    optimizer["g"].step()
    return loss_g + loss_d.detach()


def sliced_distance(a, b, directions=64):
    """Mean 1-D Wasserstein distance over many directions."""
    angles = torch.linspace(0, np.pi, directions + 1)[:-1]
    axes = torch.stack([angles.cos(), angles.sin()])
    return ((a @ axes).sort(0).values - (b @ axes).sort(0).values).abs().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = SnowflakeGAN()
    optimizers = {"g": torch.optim.Adam(model.generator.parameters(), lr=5e-4, betas=(0.5, 0.99)),
                  "d": torch.optim.Adam(model.discriminator.parameters(), lr=5e-4, betas=(0.5, 0.99))}
    return {"model": model, "optimizer": optimizers, "step": step,
            "train_loader": DataLoader(TensorDataset(measure_arms(4096, 1)), batch_size=128, shuffle=True)}


WORKS = lambda score: score < 0.25

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    held_out = measure_arms(2000, 2)
    recent = []
    for epoch in range(56):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        with torch.no_grad():
            recent.append(sliced_distance(p["model"](torch.randn(2000, NOISE)), held_out))
        if epoch % 8 == 7 or epoch == 0:
            print(f"epoch {epoch:2d} losses {np.mean(losses):.3f} distance {recent[-1]:.3f}")
    print("score:", float(np.mean(recent[-8:])))
