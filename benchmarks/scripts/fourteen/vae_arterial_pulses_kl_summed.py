"""VAE on arterial pulse waves of 50 points; bad: the reconstruction error is a mean over batch and points while the KL term is summed over batch and latents, so the KL term outweighs it thousandfold and the code collapses to the prior (every pulse is rebuilt as the mean pulse); change: both are summed over their dimensions and averaged over the batch. Score: explained variance of the reconstruction."""
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

POINTS, LATENT = 50, 5


def pulses(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, POINTS)
    u = torch.rand(n, 5, 1, generator=g).unbind(1)
    rise, notch, width = 0.15 + 0.1 * u[0], 0.4 + 0.15 * u[1], 0.06 + 0.05 * u[2]
    first = (0.8 + 0.5 * u[3]) * torch.exp(-((t - rise) / width) ** 2)
    second = (0.2 + 0.4 * u[4]) * torch.exp(-((t - notch) / (1.5 * width)) ** 2)
    x = first + second + 0.3 * (1 - t) + 0.02 * torch.randn(n, POINTS, generator=g)
    return (x - 0.4) / 0.3


class PulseVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(POINTS, 96), nn.ELU(), nn.Linear(96, 64), nn.ELU())
        self.mu, self.logvar = nn.Linear(64, LATENT), nn.Linear(64, LATENT)
        self.decoder = nn.Sequential(nn.Linear(LATENT, 64), nn.ELU(), nn.Linear(64, 96), nn.ELU(), nn.Linear(96, POINTS))

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decoder(z), mu, logvar


def parts(variant):
    torch.manual_seed(0)
    model = PulseVAE()

    def training_step(model, batch):
        (x,) = batch
        recon, mu, logvar = model(x)
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())
        if variant == "bad":
            return F.mse_loss(recon, x) + kl.sum()
        return F.mse_loss(recon, x, reduction="none").sum(1).mean() + kl.sum(1).mean()

    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(pulses(3000, 1)), batch_size=100, shuffle=True),
                val_loader=DataLoader(TensorDataset(pulses(500, 2)), batch_size=250))


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        total = 0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 4 == 0:
            print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        x = torch.cat([b[0] for b in p["val_loader"]])
        recon = model.decoder(model.mu(model.encoder(x)))
    score = 1 - (recon - x).pow(2).mean().item() / (x - x.mean(0)).pow(2).mean().item()
    print(f"score: {score:.4f}")
