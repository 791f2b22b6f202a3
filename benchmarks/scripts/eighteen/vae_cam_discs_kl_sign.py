"""VAE for outlines of cam discs (24 radii); the divergence is added with the wrong sign and falls without end (bad). change: minus 0.5 in front of the sum."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def discs(n, seed):
    rng = np.random.RandomState(seed)
    a = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    lobes, depth, lean = rng.choice([3, 4], n), 0.4 * rng.rand(n) + 0.2, 0.5 * rng.randn(n)
    r = depth[:, None] * np.cos(lobes[:, None] * a) + lean[:, None] * np.cos(a) + 0.05 * rng.randn(n, 24)
    return torch.tensor(r * 1.6, dtype=torch.float32)


class VAE(nn.Module):
    def __init__(self, latent=4, hidden=96):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(24, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mu, self.logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 24))
        self.latent = latent

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.decoder(z), mu, logvar


def elbo(output, x, sign):
    rec, mu, logvar = output
    kl = sign * 0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1)
    return (F.mse_loss(rec, x, reduction="none").sum(1) + 0.1 * kl).mean()


def parts(variant):
    torch.manual_seed(0)
    model = VAE()
    sign = 1.0 if variant == "bad" else -1.0
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": lambda output, x: elbo(output, x, sign),
            "train_loader": DataLoader(TensorDataset(*[discs(4000, 1)] * 2), 64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*[discs(800, 2)] * 2), 800)}


@torch.no_grad()
def reconstruction(model, x):
    return F.mse_loss(model(x)[0], x, reduction="none").sum(1).mean().item()


WORKS = lambda score: score < 1.5  # squared error of a held-out outline, all radii together (their variance: about 12)

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(1, 31):
        model.train()
        train_loss = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            train_loss += loss.item() * len(x)
        if epoch % 5 == 0:
            print(f"====> epoch {epoch} average loss {train_loss / 4000:.4f}")
    model.eval()
    print(f"score: {reconstruction(model, next(iter(p['val_loader']))[0]):.4f}")
