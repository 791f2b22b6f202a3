"""VAE of the pressure map under a walker's foot (16 x 10 sensors of an insole). The reconstruction error is a mean over batch and sensors, while the KL is a sum over both batch and latents, so the KL outweighs it thousands of times, the posterior collapses and each reconstruction is the mean map; the right change: the reconstruction error summed too (reduction="sum"), both divided by the batch size."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def footsteps(n, seed):
    rng = np.random.default_rng(seed)
    r, c = np.mgrid[0:16, 0:10]
    maps = np.empty((n, 160), dtype=np.float32)
    for i in range(n):
        roll, lean, load = rng.uniform(0, 1), rng.normal(0, 1), rng.uniform(0.7, 1.3)
        m = np.zeros((16, 10))
        for row, col, wide, strength in ((13, 4.5, 2.2, 1 - roll), (4.5, 3 + lean * 0.5, 2.0, roll), (4.5, 6.5, 1.8, roll * 0.8),
                                         (1, 3, 1.0, max(roll - 0.4, 0) * 1.4), (9, 6.5, 1.5, 0.3 + 0.1 * lean)):
            m += strength * np.exp(-((r - row) ** 2 + (c - col - 0.4 * lean) ** 2) / (2 * wide ** 2))
        maps[i] = (load * m + rng.normal(0, 0.02, (16, 10))).ravel()
    return torch.from_numpy(maps)


class InsoleVAE(nn.Module):
    def __init__(self, latent=5):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(160, 96), nn.ELU(), nn.Linear(96, 48), nn.ELU())
        self.mu = nn.Linear(48, latent)
        self.logvar = nn.Linear(48, latent)
        self.dec = nn.Sequential(nn.Linear(latent, 48), nn.ELU(), nn.Linear(48, 96), nn.ELU(), nn.Linear(96, 160))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.dec(z), mu, logvar


NOISE_VAR = 0.02


def make_step(reduction):
    def elbo_step(model, batch):
        (x,) = batch
        recon, mu, logvar = model(x)
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        error = F.mse_loss(recon, x, reduction=reduction) / (2 * NOISE_VAR)
        return (error + kl) / len(x)
    return elbo_step


def parts(variant):
    torch.manual_seed(0)
    model = InsoleVAE()
    train_loader = DataLoader(TensorDataset(footsteps(2000, 20)), batch_size=50, shuffle=True)
    val_loader = DataLoader(TensorDataset(footsteps(400, 21)), batch_size=100)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "training_step": make_step("mean" if variant == "bad" else "sum"),
            "train_loader": train_loader, "val_loader": val_loader}


def variance_explained(model, loader):
    model.eval()
    with torch.no_grad():
        x = torch.cat([b[0] for b in loader])
        return 1 - ((model(x)[0] - x).pow(2).mean() / (x - x.mean(0)).pow(2).mean()).item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, step = p["model"], p["optimizer"], p["training_step"]
    for epoch in range(1, 41):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            loss = step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 5 == 0:
            print(f"[{epoch:02d}] loss {total / len(p['train_loader']):.4f}  explained {variance_explained(model, p['val_loader']):.3f}")
    print("score:", variance_explained(model, p["val_loader"]))
