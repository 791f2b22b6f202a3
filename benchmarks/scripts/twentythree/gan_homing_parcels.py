"""GAN that makes up parcels as rows of (weight in grams, longest side in mm, hour of posting). The mistake: the table goes in raw, thousands beside tens, so the discriminator looks at the grams alone and the generator's outputs near zero never come near the data; the right change: standardise the columns (and undo it when sampling)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def parcels(n, seed):
    rng = np.random.default_rng(seed)
    big = rng.random(n) < 0.4
    size = np.where(big, rng.normal(520, 40, n), rng.normal(250, 30, n))
    grams = 9 * size + np.where(big, 1500, 0) + rng.normal(0, 250, n)
    hour = np.where(big, rng.normal(16, 1, n), rng.normal(10, 1.5, n))
    return np.stack([grams, size, hour], 1).astype(np.float32)


class ParcelGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(4, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 3))
        self.D = nn.Sequential(nn.Linear(3, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))

    def forward(self, z):
        return self.G(z)


bce = nn.BCEWithLogitsLoss()


def step(gan, batch, opts):
    opt_g, opt_d = opts
    real = batch[0]
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
    fake = gan.G(torch.randn(len(real), 4))
    opt_d.zero_grad()
    loss_d = bce(gan.D(real), ones) + bce(gan.D(fake.detach()), zeros)
    loss_d.backward()
    opt_d.step()
    opt_g.zero_grad()
    loss_g = bce(gan.D(fake), ones)
    loss_g.backward()
    opt_g.step()
    return loss_d + loss_g


def units(table, variant):
    return (0.0, 1.0) if variant == "bad" else (table.mean(0), table.std(0))


def parts(variant):
    torch.manual_seed(23)
    table = parcels(3000, 1)
    mean, std = units(table, variant)
    X = torch.tensor((table - mean) / std)
    gan = ParcelGAN()
    opts = (torch.optim.Adam(gan.G.parameters(), lr=1e-3, betas=(0.5, 0.999)),
            torch.optim.Adam(gan.D.parameters(), lr=1e-3, betas=(0.5, 0.999)))
    return {"model": gan, "optimizer": opts, "step": step,
            "train_loader": DataLoader(TensorDataset(X), batch_size=100, shuffle=True)}


def distance(made, real):
    """mean Wasserstein distance of the columns, in standard deviations of the real ones"""
    return float(np.mean(np.abs(np.sort(made, 0) - np.sort(real, 0)).mean(0) / real.std(0)))


WORKS = lambda score: score < 0.4

if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else "bad"
    p = parts(variant)
    mean, std = units(parcels(3000, 1), variant)
    gan = p["model"]
    test = parcels(1000, 2)
    scores = []
    for epoch in range(28):
        losses = [step(gan, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        with torch.no_grad():
            made = gan(torch.randn(1000, 4)).numpy() * std + mean
        scores.append(distance(made, test))
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}  distance {scores[-1]:.3f}")
    print("score:", np.mean(scores[-8:]))
