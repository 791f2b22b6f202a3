"""GAN that draws daily load curves (24 hours, two kinds of day); bad: the generator's own step reuses the detached fakes of the discriminator's step, so no gradient reaches the generator, only the discriminator learns; change: the generator's step scores the fakes with their graph. Score: distance of the hourly quantiles (lower is better)."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

Z = 12


def curves(n, seed):
    g = torch.Generator().manual_seed(seed)
    h = torch.arange(24).float()
    weekend = (torch.rand(n, 1, generator=g) < 0.3).float()
    r = torch.randn(n, 4, generator=g)
    morning = torch.exp(-((h - 7.5 - 0.5 * r[:, :1] - 2 * weekend) ** 2) / 5)
    evening = torch.exp(-((h - 19 - 0.6 * r[:, 1:2]) ** 2) / 7)
    base = 0.4 + 0.06 * r[:, 2:3]
    curve = base + (0.8 - 0.4 * weekend) * morning + (1.1 + 0.15 * r[:, 3:]) * evening + 0.02 * torch.randn(n, 24, generator=g)
    return curve - 0.7


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(Z, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.2),
                                 nn.Linear(64, 64), nn.BatchNorm1d(64), nn.LeakyReLU(0.2), nn.Linear(64, 24))

    def forward(self, z):
        return self.net(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(24, 64), nn.LeakyReLU(0.2), nn.Dropout(0.2),
                                 nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


class GAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.g, self.d = Generator(), Discriminator()

    def forward(self, z):
        return self.g(z)


def parts(variant):
    torch.manual_seed(0)
    gan = GAN()
    opt_g = torch.optim.Adam(gan.g.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(gan.d.parameters(), lr=5e-4, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        (real,) = batch
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        fake = model.g(torch.randn(len(real), Z))
        frozen = fake.detach()

        opt_d.zero_grad()
        d_loss = bce(model.d(real), ones) + bce(model.d(frozen), zeros)
        d_loss.backward()
        opt_d.step()

        optimizer.zero_grad()
        g_loss = bce(model.d(frozen if variant == "bad" else fake), ones)
        g_loss.backward()
        optimizer.step()
        step.d_loss = d_loss.item()
        return g_loss

    return dict(model=gan, optimizer=opt_g, step=step,
                train_loader=DataLoader(TensorDataset(curves(2000, 1)), batch_size=64, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(curves(500, 2)), batch_size=500))


WORKS = lambda score: score < 0.1

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    gan, step = p["model"], p["step"]
    for epoch in range(40):
        for batch in p["train_loader"]:
            loss = step(gan, batch, p["optimizer"])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: G {loss.item():.3f}  D {step.d_loss:.3f}")
    gan.eval()
    (real,) = next(iter(p["val_loader"]))
    with torch.no_grad():
        fake = gan(torch.randn(len(real), Z))
    score = (real.sort(0).values - fake.sort(0).values).abs().mean().item()
    print(f"score: {score:.4f}")
