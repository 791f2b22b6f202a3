"""A VAE of teacup silhouettes. The reconstruction loss is the mean over all pixels while the KL term is a sum over the batch and the latent dimensions, so the KL outweighs it by far and the latent code collapses to the prior; the right change: sum the reconstruction loss too (reduction="sum")."""
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader

torch.set_num_threads(1)
SIZE = 24


def teacup(rng):
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(float)
    top, bottom = rng.uniform(3, 9), rng.uniform(18, 21)
    rim, base = rng.uniform(5, 8), rng.uniform(2, 5)
    bulge = rng.uniform(-1.0, 1.5)
    s = np.clip((y - top) / (bottom - top), 0, 1)
    half = rim + (base - rim) * s + bulge * np.sin(np.pi * s)
    cup = (y >= top) & (y <= bottom) & (abs(x - 10) <= half)
    side = rng.choice([-1, 1])
    ring = np.hypot(x - 10 - side * (rim + base) / 2 - side * 1.5, y - (top + bottom) / 2)
    radius = rng.uniform(2.5, 4.0)
    image = (cup | (abs(ring - radius) < 0.9)).astype(float)
    return np.clip(image * rng.uniform(0.85, 1.0) + rng.normal(0, 0.04, image.shape), 0, 1)


class VAE(nn.Module):
    def __init__(self, latent=8, hidden=200):
        super().__init__()
        self.fc1 = nn.Linear(SIZE * SIZE, hidden)
        self.fc21 = nn.Linear(hidden, latent)
        self.fc22 = nn.Linear(hidden, latent)
        self.fc3 = nn.Linear(latent, hidden)
        self.fc4 = nn.Linear(hidden, SIZE * SIZE)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.flatten(1))
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def make_training_step(reduction):
    def training_step(model, x):
        recon, mu, logvar = model(x)
        bce = F.binary_cross_entropy(recon, x.flatten(1), reduction=reduction)
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return bce + kld
    return training_step


def cups(n, seed):
    rng = np.random.default_rng(seed)
    return torch.tensor(np.stack([teacup(rng) for _ in range(n)]), dtype=torch.float32)


def parts(variant):
    torch.manual_seed(1)
    model = VAE()
    return {"model": model, "optimizer": optim.Adam(model.parameters(), lr=1e-3),
            "training_step": make_training_step("mean" if variant == "bad" else "sum"),
            "train_loader": DataLoader(cups(2500, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(cups(400, 1), batch_size=400)}


WORKS = lambda score: score > 0.4

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 13):
        model.train()
        train_loss = 0.0
        for data in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, data)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        print(f"====> Epoch: {epoch} Average loss: {train_loss / len(p['train_loader'].dataset):.4f}")
    model.eval()
    with torch.no_grad():
        x = next(iter(p["val_loader"])).flatten(1)
        recon = model(x)[0]
        explained = 1 - (x - recon).pow(2).sum() / (x - x.mean(0)).pow(2).sum()
    print("score:", explained.item())
