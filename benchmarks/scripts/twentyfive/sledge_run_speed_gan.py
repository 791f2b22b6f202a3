"""GAN for the speed profile of sledges down a hill (24 points). The step of the generator compares the scores of its profiles with the labels of the fakes, so the generator is trained to be found out; the right change: compare them with the labels of the real profiles (criterion(netD(fake), real_label))."""
import sys

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
POINTS, NZ = 24, 12


def sledge_runs(n, generator):
    s = torch.linspace(0, 1, POINTS)
    weight = 1 + 0.15 * torch.randn(n, 1, generator=generator)
    push = 0.3 + 0.1 * torch.rand(n, 1, generator=generator)
    bump = 0.35 + 0.08 * torch.randn(n, 1, generator=generator)
    brake = 0.75 + 0.05 * torch.randn(n, 1, generator=generator)
    speed = push + 2.2 * weight * s ** 0.6
    speed = speed - 0.5 * torch.exp(-((s - bump) / 0.06) ** 2)
    speed = speed * torch.sigmoid((brake - s) / 0.05)
    return speed + 0.03 * torch.randn(n, POINTS, generator=generator)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(NZ, 64), nn.LeakyReLU(0.2),
            nn.Linear(64, 64), nn.LeakyReLU(0.2),
            nn.Linear(64, POINTS),
        )

    def forward(self, z):
        return self.main(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Linear(POINTS, 64), nn.LeakyReLU(0.2),
            nn.Linear(64, 32), nn.LeakyReLU(0.2),
            nn.Linear(32, 1), nn.Sigmoid(),
        )

    def forward(self, x):
        return self.main(x).squeeze(1)


class Trainer:
    def __init__(self, generator_label):
        self.criterion = nn.BCELoss()
        self.generator_label = generator_label

    def __call__(self, model, batch, optimizer):
        netG, netD = model["G"], model["D"]
        real = batch[0]
        real_label, fake_label = torch.ones(len(real)), torch.zeros(len(real))
        # discriminator
        netD.zero_grad()
        err_real = self.criterion(netD(real), real_label)
        fake = netG(torch.randn(len(real), NZ))
        err_fake = self.criterion(netD(fake.detach()), fake_label)
        (err_real + err_fake).backward()
        optimizer["D"].step()
        # generator
        netG.zero_grad()
        label = torch.full((len(real),), self.generator_label)
        errG = self.criterion(netD(fake), label)
        errG.backward()
        optimizer["G"].step()
        return (err_real + err_fake + errG).detach()


def parts(variant):
    torch.manual_seed(2)
    g = torch.Generator().manual_seed(2)
    runs = sledge_runs(3000, g)
    mean, std = runs.mean(), runs.std()
    model = nn.ModuleDict({"G": Generator(), "D": Discriminator()})
    optimizer = {k: optim.Adam(model[k].parameters(), lr=1e-3, betas=(0.5, 0.999)) for k in ("G", "D")}
    return {"model": model, "optimizer": optimizer,
            "step": Trainer(generator_label=0.0 if variant == "bad" else 1.0),
            "train_loader": DataLoader(TensorDataset((runs - mean) / std), batch_size=100, shuffle=True),
            "held_out": (sledge_runs(600, g) - mean) / std}


WORKS = lambda score: score < 0.4


def quantile_distance(a, b):
    q = torch.linspace(0.05, 0.95, 19)
    return (torch.quantile(a, q, dim=0) - torch.quantile(b, q, dim=0)).abs().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(30):
        for batch in p["train_loader"]:
            p["step"](p["model"], batch, p["optimizer"])
        if (epoch + 1) % 10 == 0:
            with torch.no_grad():
                score = quantile_distance(p["model"]["G"](torch.randn(600, NZ)), p["held_out"])
            print(f"epoch {epoch + 1}: distance {score:.3f}")
    print("score:", score)
