"""VAE on the height curves of a yo-yo (48 samples: drop, spin, climb, damped bounces); scored by how much of a new curve the decoder gets back from the latent mean.
The reconstruction error is averaged over batch and samples while the KL term is summed over both, so the KL outweighs it some thousand times and the latents carry nothing; the right change: sum the reconstruction error too (reduction="sum")."""
import math
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SAMPLES = 48


def throws(n, seed):
    g = torch.Generator().manual_seed(seed)
    rand = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, generator=g)
    t = torch.linspace(0, 1, SAMPLES)
    period, damping, phase, lift = rand(0.25, 0.55), rand(0.3, 2.5), rand(-0.6, 0.6), rand(-0.6, 0.6)
    sleep = rand(0.0, 0.3)
    moving = (t - sleep).clamp(min=0)
    curve = lift - 1.4 * torch.exp(-damping * moving) * torch.cos(2 * math.pi * moving / period + phase)
    return curve + 0.1 * torch.randn(n, SAMPLES, generator=g)


class Encoder(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.features = nn.Sequential(nn.Conv1d(1, 16, 5, 2, 2), nn.ELU(), nn.Conv1d(16, 24, 5, 2, 2), nn.ELU(), nn.Flatten(),
                                      nn.Linear(24 * SAMPLES // 4, 64), nn.ELU())
        self.mean, self.logvar = nn.Linear(64, latent), nn.Linear(64, latent)

    def forward(self, x):
        h = self.features(x.unsqueeze(1))
        return self.mean(h), self.logvar(h)


class YoYoVAE(nn.Module):
    def __init__(self, latent=6):
        super().__init__()
        self.encoder = Encoder(latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 96), nn.ELU(), nn.Linear(96, 96), nn.ELU(), nn.Linear(96, SAMPLES))

    def forward(self, x):
        mean, logvar = self.encoder(x)
        z = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        return self.decoder(z), mean, logvar

    def restore(self, x):
        return self.decoder(self.encoder(x)[0])


class ELBO:
    def __init__(self, reduction, beta=0.5):
        self.reduction, self.beta = reduction, beta

    def __call__(self, model, batch):
        x, = batch
        recon, mean, logvar = model(x)
        error = F.mse_loss(recon, x, reduction=self.reduction)
        kl = -0.5 * (1 + logvar - mean ** 2 - logvar.exp()).sum()
        return (error + self.beta * kl) / len(x)


def parts(variant):
    torch.manual_seed(14)
    model = YoYoVAE()
    return {"model": model, "training_step": ELBO("mean" if variant == "bad" else "sum"),
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(throws(2400, 1)), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TensorDataset(throws(400, 2)), batch_size=400)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(16):
        model.train()
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        x, = next(iter(p["val_loader"]))
        score = 1 - ((model.restore(x) - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    print("score:", score.item())
