"""GAN for points on an arc; the generator's step uses the detached fakes of the discriminator's step; change: the fixed twin detaches them only for the discriminator."""
import math
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

NOISE = 6


def arc(n, seed):
    g = torch.Generator().manual_seed(seed)
    angle = (torch.rand(n, generator=g) - 0.5) * math.pi
    radius = 2 + 0.1 * torch.randn(n, generator=g)
    return torch.stack([radius * angle.cos() + 1, radius * angle.sin() - 1.5], 1)


class GAN(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(NOISE, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        self.D = nn.Sequential(nn.Linear(2, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, z):
        return self.G(z)


def sliced_distance(a, b, n_proj=50):
    g = torch.Generator().manual_seed(9)
    d = torch.randn(2, n_proj, generator=g)
    d = d / d.norm(dim=0)
    return ((a @ d).sort(0).values - (b @ d).sort(0).values).abs().mean().item()


def parts(variant):
    torch.manual_seed(0)
    gan = GAN()
    opt_g = torch.optim.Adam(gan.G.parameters(), lr=5e-4, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(gan.D.parameters(), lr=5e-4, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        real = batch[0]
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = model.G(torch.randn(len(real), NOISE))
        if variant == "bad":
            fake = fake.detach()
        opt_d.zero_grad()
        d_loss = bce(model.D(real), ones) + bce(model.D(fake.detach()), zeros)
        d_loss.backward()
        opt_d.step()

        optimizer.zero_grad()
        g_loss = bce(model.D(fake), ones)
        g_loss.backward()
        optimizer.step()
        step.d_loss = d_loss.item()
        return g_loss

    return {
        "model": gan,
        "optimizer": opt_g,
        "step": step,
        "train_loader": DataLoader(TensorDataset(arc(6400, 1)), batch_size=128, shuffle=True),
    }


WORKS = lambda score: score > 0.5  # 1 - distance to the arc / distance of the untrained generator's cloud

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    gan, test = p["model"], arc(2000, 2)
    noise = torch.randn(2000, NOISE, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        start = sliced_distance(gan(noise), test)
    for epoch in range(30):
        for batch in p["train_loader"]:
            g_loss = p["step"](gan, batch, p["optimizer"])
        with torch.no_grad():
            dist = sliced_distance(gan(noise), test)
        print(f"epoch {epoch:2d}  d_loss {p['step'].d_loss:.3f}  g_loss {g_loss.item():.3f}  distance {dist:.3f}")
    print(f"score: {1 - dist / start:.4f}")
