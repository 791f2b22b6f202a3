"""Small MLP GAN for points on two ellipses; mistake: the fakes are detached in the generator's step as well (the line is copied from the discriminator's step), so that the generator gets no gradient and its loss only drifts; change: no detach there."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def ellipses(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(n, generator=g) * 2 * math.pi
    which = torch.randint(0, 2, (n,), generator=g).float()
    x = torch.stack([1.2 * torch.cos(a), 0.5 * torch.sin(a) + 1.6 * which - 0.8], 1)
    return x + 0.04 * torch.randn(n, 2, generator=g)


class Generator(nn.Module):
    def __init__(self, nz=8):
        super().__init__()
        self.nz = nz
        self.net = nn.Sequential(nn.Linear(nz, 96), nn.LeakyReLU(0.2), nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Linear(96, 2))

    def forward(self, z):
        return self.net(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 96), nn.LeakyReLU(0.2), nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = Generator()
        self.discriminator = Discriminator()

    def forward(self, z):
        return self.generator(z)


def parts(variant):
    torch.manual_seed(0)
    gan = GAN()
    opt_g = torch.optim.Adam(gan.generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(gan.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        real = batch[0]
        D = model.discriminator
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))

        fake = model.generator(torch.randn(len(real), model.generator.nz))
        opt_d.zero_grad()
        loss_d = bce(D(real), ones) + bce(D(fake.detach()), zeros)
        loss_d.backward()
        opt_d.step()

        optimizer.zero_grad()
        score = D(fake.detach()) if variant == "bad" else D(fake)
        loss_g = bce(score, ones)
        loss_g.backward()
        optimizer.step()
        step.loss_d = loss_d.item()
        return loss_g

    return dict(model=gan, optimizer=opt_g, step=step,
                train_loader=DataLoader(TensorDataset(ellipses(4000, 1)), batch_size=100, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(ellipses(1000, 2)), batch_size=1000))


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


WORKS = lambda score: score < 0.08   # energy distance between 1000 samples and 1000 held-out points

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    gan = p["model"]
    for epoch in range(50):
        for batch in p["train_loader"]:
            loss_g = p["step"](gan, batch, p["optimizer"])
        if epoch % 5 == 0:
            print(f"epoch {epoch} D {p['step'].loss_d:.4f} G {loss_g.item():.4f}")
    with torch.no_grad():
        held_out = next(iter(p["val_loader"]))[0]
        score = energy_distance(gan(torch.randn(1000, 8)), held_out)
    print(f"score: {score:.4f}")
