"""A VAE of the height profiles of zipper teeth (48 points). A sound program: log-variance head, reparametrised sample, Gaussian reconstruction with a fixed noise summed over the points, KL summed over the latents, both averaged over the batch. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
POINTS, SIGMA = 48, 0.15


def profile(rng):
    x = np.linspace(0, 1, POINTS)
    pitch, phase = rng.uniform(3, 5), rng.uniform(-0.6, 0.6)
    sharp, wear = rng.uniform(0.6, 2.5), rng.uniform(0, 0.8)
    wave = np.tanh(sharp * np.sin(2 * np.pi * pitch * x + phase))
    return wave * (1 - wear * x) + rng.normal(0, 0.08, POINTS)


class Zippers(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.curves = torch.tensor(np.array([profile(rng) for _ in range(n)]), dtype=torch.float32)

    def __len__(self):
        return len(self.curves)

    def __getitem__(self, i):
        return self.curves[i]


class ProfileVAE(nn.Module):
    def __init__(self, latent=6, hidden=128):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(POINTS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mu = nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                                     nn.Linear(hidden, POINTS))

    def encode(self, x):
        h = self.encoder(x)
        return self.mu(h), self.logvar(h)

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar) if self.training else mu
        return self.decoder(z), mu, logvar


def negative_elbo(model, batch):
    recon, mu, logvar = model(batch)
    rec = ((recon - batch) ** 2).sum(1) / (2 * SIGMA ** 2)
    kl = -0.5 * (1 + logvar - mu ** 2 - logvar.exp()).sum(1)
    return (rec + kl).mean()


def parts(variant):
    torch.manual_seed(0)
    vae = ProfileVAE()
    return {"model": vae,
            "optimizer": torch.optim.Adam(vae.parameters(), lr=1e-3),
            "training_step": negative_elbo,
            "train_loader": DataLoader(Zippers(3000, 5), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Zippers(500, 6), batch_size=250)}


WORKS = lambda score: score > 0.8


def explained(vae, loader):
    vae.eval()
    rest = total = 0.0
    with torch.no_grad():
        for x in loader:
            rest += ((vae(x)[0] - x) ** 2).sum().item()
            total += ((x - x.mean(0)) ** 2).sum().item()
    return 1 - rest / total


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    vae, optimizer = p["model"], p["optimizer"]
    for epoch in range(25):
        vae.train()
        elbo = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](vae, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            elbo -= loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: elbo {elbo / len(p['train_loader']):.1f}, explained on new zippers {explained(vae, p['val_loader']):.3f}")
    print("score:", explained(vae, p["val_loader"]))
