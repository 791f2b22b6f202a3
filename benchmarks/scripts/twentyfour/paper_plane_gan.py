"""GAN that makes flight paths of paper planes (12 heights along the flight). The generator's step asks the judge's cross entropy against the label of the fakes (0) instead of that of the real ones (1), so it learns to be found out and its paths leave the real ones; the right change: real_label in the generator's loss."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
POINTS, NOISE = 12, 8


def flights(n, seed):
    rng = np.random.default_rng(seed)
    s = np.linspace(0, 1, POINTS)
    start = rng.normal(1.6, 0.12, (n, 1))
    swoop = np.abs(rng.normal(0.45, 0.15, (n, 1)))
    beats = np.where(rng.random((n, 1)) < 0.5, 1.0, 1.5)
    path = start * (1 - s ** 1.7) + swoop * np.sin(2 * np.pi * beats * s) * (1 - s) + rng.normal(0, 0.02, (n, POINTS))
    return torch.tensor((path - 0.9) / 0.6, dtype=torch.float32)


class PlaneGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(NOISE, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, POINTS))
        self.judge = nn.Sequential(nn.Linear(POINTS, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, z):
        return self.generator(z)


class GANStep:
    real_label, fake_label = 1.0, 0.0

    def __init__(self, goal):
        self.goal = goal
        self.bce = nn.BCEWithLogitsLoss()

    def judge_loss(self, gan, real, fake):
        a, b = gan.judge(real), gan.judge(fake.detach())
        return self.bce(a, torch.full_like(a, self.real_label)) + self.bce(b, torch.full_like(b, self.fake_label))

    def generator_loss(self, gan, fake):
        verdict = gan.judge(fake)
        return self.bce(verdict, torch.full_like(verdict, self.goal))

    def __call__(self, gan, batch, optimizer):
        g_opt, d_opt = optimizer
        real = batch[0]
        fake = gan(torch.randn(len(real), NOISE))
        d_opt.zero_grad()
        loss_d = self.judge_loss(gan, real, fake)
        loss_d.backward()
        d_opt.step()
        g_opt.zero_grad()
        loss_g = self.generator_loss(gan, fake)
        loss_g.backward()
        g_opt.step()
        self.last = loss_d.item(), loss_g.item()
        return loss_g.detach()


def parts(variant):
    torch.manual_seed(0)
    gan = PlaneGAN()
    g_opt = torch.optim.Adam(gan.generator.parameters(), lr=4e-4, betas=(0.5, 0.99))
    d_opt = torch.optim.Adam(gan.judge.parameters(), lr=4e-4, betas=(0.5, 0.99))
    return {"model": gan, "optimizer": [g_opt, d_opt],
            "step": GANStep(GANStep.fake_label if variant == "bad" else GANStep.real_label),
            "train_loader": DataLoader(TensorDataset(flights(4000, 70)), batch_size=64, shuffle=True, drop_last=True)}


def sliced_distance(a, b, slices=100):
    g = torch.Generator().manual_seed(5)
    d = torch.randn(POINTS, slices, generator=g)
    d /= d.norm(dim=0)
    return ((a @ d).sort(0).values - (b @ d).sort(0).values).abs().mean().item()


WORKS = lambda score: score < 0.25

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    held_out = flights(1000, 71)
    for epoch in range(40):
        for batch in p["train_loader"]:
            p["step"](p["model"], batch, p["optimizer"])
        if epoch % 4 == 3:
            with torch.no_grad():
                score = sliced_distance(p["model"](torch.randn(1000, NOISE)), held_out)
            print(f"epoch {epoch + 1}: judge {p['step'].last[0]:.3f} generator {p['step'].last[1]:.3f} distance {score:.3f}")
    print("score:", score)
