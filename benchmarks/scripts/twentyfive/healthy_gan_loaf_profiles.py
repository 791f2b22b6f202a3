"""Hinge GAN on the height profiles (sixteen points) of bread loaves on a conveyor. An ordinary sound script with two optimizers in a dict and two critic updates per generator update; the hinge critic's scores are not probabilities, so its loss near 2 means a fair game. The score is minus the mean error of the generated profiles' mean and spread."""
import sys

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
POINTS, LATENT = 16, 8


def bake(n, rng):
    x = np.linspace(-1, 1, POINTS)
    height = rng.normal(1.0, 0.15, (n, 1))
    width = rng.uniform(0.75, 1.05, (n, 1))
    lean = rng.normal(0, 0.12, (n, 1))
    dome = np.clip(1 - ((x - lean) / width) ** 2, 0, None) ** 0.6
    split = 0.18 * rng.random((n, 1)) * np.exp(-0.5 * (x / 0.18) ** 2)
    return (height * dome - split + rng.normal(0, 0.02, (n, POINTS))).astype(np.float32)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(LATENT, 64), nn.LeakyReLU(0.1), nn.Linear(64, 64), nn.LeakyReLU(0.1),
                                 nn.Linear(64, POINTS))

    def forward(self, z):
        return self.net(z)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        sn = nn.utils.parametrizations.spectral_norm
        self.net = nn.Sequential(sn(nn.Linear(POINTS, 64)), nn.LeakyReLU(0.1), sn(nn.Linear(64, 64)),
                                 nn.LeakyReLU(0.1), sn(nn.Linear(64, 1)))

    def forward(self, x):
        return self.net(x)


class LoafGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.g, self.d = Generator(), Critic()

    def sample(self, n):
        return self.g(torch.randn(n, LATENT))

    forward = sample


def step(model, batch, optimizer):
    (real,) = batch
    for half in real.chunk(2):
        with torch.no_grad():
            fake = model.sample(len(half))
        loss_d = torch.relu(1 - model.d(half)).mean() + torch.relu(1 + model.d(fake)).mean()
        optimizer["d"].zero_grad()
        loss_d.backward()
        optimizer["d"].step()
    loss_g = -model.d(model.sample(len(real) // 2)).mean()
    optimizer["g"].zero_grad()
    loss_g.backward()
    optimizer["g"].step()
    return loss_d.detach()


def profile_error(fake, real):
    return ((fake.mean(0) - real.mean(0)).abs().mean() + (fake.std(0) - real.std(0)).abs().mean()).item()


def parts(variant):
    torch.manual_seed(7)
    rng = np.random.default_rng(70)
    scale = lambda a: torch.from_numpy((a - 0.55) / 0.4)
    train, held_out = scale(bake(3000, rng)), scale(bake(800, rng))
    model = LoafGAN()
    optimizer = {"g": optim.Adam(model.g.parameters(), lr=1e-3, betas=(0.5, 0.99)),
                 "d": optim.Adam(model.d.parameters(), lr=2e-3, betas=(0.5, 0.99))}
    return {"model": model, "optimizer": optimizer, "step": step, "held_out": held_out,
            "train_loader": DataLoader(TensorDataset(train), batch_size=120, shuffle=True, drop_last=True)}


WORKS = lambda score: score > -0.3

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            score = -profile_error(p["model"].sample(800), p["held_out"])
        if epoch % 2 == 1:
            print(f"epoch {epoch}: critic loss {loss:.3f}, minus error {score:.3f}")
    print("score:", score)
