"""GAN on four beak measurements in millimetres, the generator ends in tanh; mistake: the measurements are not brought into -1..1, the generator can never reach them, the discriminator's loss is 0 at once; change: min-max scaling of the table to -1..1."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LOW = np.array([7.0, 5.0, 9.0, 2.0], dtype=np.float32)
HIGH = np.array([45.0, 22.0, 60.0, 14.0], dtype=np.float32)


def beaks(n, seed):
    rng = np.random.default_rng(seed)
    species = rng.integers(0, 3, n)
    centre = np.array([[12, 8, 16, 4], [24, 12, 50, 6], [38, 18, 30, 11]], dtype=float)[species]
    size = rng.normal(0, 1, (n, 1))
    table = centre * (1 + 0.06 * size) + rng.normal(0, 0.25, (n, 4))
    return np.clip(table, LOW, HIGH).astype(np.float32)


def to_unit(table):
    return 2 * (table - LOW) / (HIGH - LOW) - 1


def to_mm(table):
    return (table + 1) / 2 * (HIGH - LOW) + LOW


class BeakGAN(nn.Module):
    latent = 6

    def __init__(self):
        super().__init__()
        self.g = nn.Sequential(nn.Linear(self.latent, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4), nn.Tanh())
        self.d = nn.Sequential(nn.Linear(4, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1), nn.Sigmoid())

    def forward(self, z):
        return self.g(z)


class Trainer:
    def __init__(self, model):
        self.opt_d = torch.optim.Adam(model.d.parameters(), lr=5e-4, betas=(0.5, 0.999))
        self.bce = nn.BCELoss()
        self.d_loss = None

    def __call__(self, model, batch, optimizer):
        real, = batch
        n = real.size(0)
        fake = model.g(torch.randn(n, model.latent))
        d_loss = self.bce(model.d(real), torch.ones(n, 1)) + self.bce(model.d(fake.detach()), torch.zeros(n, 1))
        self.opt_d.zero_grad()
        d_loss.backward()
        self.opt_d.step()
        g_loss = self.bce(model.d(fake), torch.ones(n, 1))
        optimizer.zero_grad()
        g_loss.backward()
        optimizer.step()
        self.d_loss = d_loss.item()
        return g_loss


def parts(variant):
    torch.manual_seed(0)
    scale = (lambda t: t) if variant == "bad" else to_unit
    model = BeakGAN()
    return dict(model=model, optimizer=torch.optim.Adam(model.g.parameters(), lr=5e-4, betas=(0.5, 0.999)), step=Trainer(model),
                train_loader=DataLoader(TensorDataset(torch.from_numpy(scale(beaks(3000, 1)))), batch_size=60, shuffle=True),
                val_loader=DataLoader(TensorDataset(torch.from_numpy(scale(beaks(800, 2)))), batch_size=200))


WORKS = lambda score: score < 0.3   # mean over columns of the distance between sorted samples and sorted held-out values, in the columns' stds

if __name__ == "__main__":
    torch.set_num_threads(1)
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    for epoch in range(60):
        gs = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 6 == 0:
            print(f"epoch {epoch:2d}  d {p['step'].d_loss:.4f}  g {np.mean(gs):.4f}")
    with torch.no_grad():
        fake = p["model"](torch.randn(800, BeakGAN.latent)).numpy()
    if variant != "bad":
        fake = to_mm(fake)
    real = beaks(800, 2)
    score = float((np.abs(np.sort(fake, 0) - np.sort(real, 0)).mean(0) / real.std(0)).mean())
    print(f"score: {score:.4f}")
