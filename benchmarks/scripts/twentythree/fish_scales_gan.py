"""GAN that makes measurements of fish scales (length, width, rings). In the generator's step the discriminator is given fake.detach(), as in its own step, so no gradient ever reaches the generator; the right change: give it the attached fake."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NZ = 8


def scales(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    age = torch.rand(n, 1, generator=g) * 2 - 1
    noise = torch.randn(n, 3, generator=g) * 0.1
    return torch.cat([1.0 + 0.8 * age, 0.5 + 0.5 * age ** 2, -1.0 + 0.7 * age], 1) + noise


class ScaleGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(NZ, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 3))
        self.D = nn.Sequential(nn.Linear(3, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, z):
        return self.G(z)


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def parts(variant):
    torch.manual_seed(0)
    gan = ScaleGAN()
    optimizer_g = torch.optim.Adam(gan.G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(gan.D.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        opt_g, opt_d = optimizer
        real = batch[0]
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = model(torch.randn(len(real), NZ))
        # discriminator
        opt_d.zero_grad()
        loss_d = bce(model.D(real), ones) + bce(model.D(fake.detach()), zeros)
        loss_d.backward()
        opt_d.step()
        # generator
        opt_g.zero_grad()
        if variant == "bad":
            loss_g = bce(model.D(fake.detach()), ones)
        else:
            loss_g = bce(model.D(fake), ones)
        loss_g.backward()
        opt_g.step()
        return loss_d.detach() + loss_g.detach()

    return {"model": gan, "optimizer": [optimizer_g, optimizer_d], "step": step,
            "train_loader": DataLoader(TensorDataset(scales(3200)), batch_size=64, shuffle=True, drop_last=True)}


WORKS = lambda score: score < 0.15

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    gan = p["model"]
    real = scales(1000, 9)
    dist = []
    for epoch in range(30):
        losses = [p["step"](gan, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        with torch.no_grad():
            dist.append(energy_distance(gan(torch.randn(1000, NZ)), real))
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: losses {np.mean(losses):.3f}, distance to the real {dist[-1]:.4f}")
    print("score:", np.mean(dist[-5:]))
