"""VAE for the envelopes of doorbell chimes (64 samples of a two-tone strike). The reconstruction error is the mean over all samples and chimes, while the KL term is summed, so the KL term outweighs it and the decoder ignores the latents; the right change: sum the reconstruction error as well (reduction="sum")."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SAMPLES, LATENT = 64, 6


def strike(n, g):
    t = torch.linspace(0, 1, SAMPLES)
    u = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, generator=g)
    start, gap, decay, loud = u(0.02, 0.15), u(0.25, 0.5), u(3, 12), u(0.4, 1.2)
    ding = torch.exp(-decay * (t - start).clamp(min=0)) * (t > start)
    dong = torch.exp(-0.7 * decay * (t - start - gap).clamp(min=0)) * (t > start + gap)
    return 2 * (ding + loud * dong) - 0.8 + 0.08 * torch.randn(n, SAMPLES, generator=g)


class ChimeVAE(nn.Module):
    def __init__(self, hidden=128):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(SAMPLES, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.fc_mu = nn.Linear(hidden, LATENT)
        self.fc_logvar = nn.Linear(hidden, LATENT)
        self.decoder = nn.Sequential(nn.Linear(LATENT, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                                     nn.Linear(hidden, SAMPLES))

    def encode(self, x):
        h = self.encoder(x)
        return self.fc_mu(h), self.fc_logvar(h)

    def reparameterize(self, mu, logvar):
        if not self.training:
            return mu
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.decoder(self.reparameterize(mu, logvar)), mu, logvar


class VAELoss:
    def __init__(self, reduction):
        self.reduction = reduction

    def __call__(self, outputs, targets):
        recon, mu, logvar = outputs
        rec = F.mse_loss(recon, targets, reduction=self.reduction)
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return rec + kld


def parts(variant):
    torch.manual_seed(9)
    g = torch.Generator().manual_seed(9)
    chimes, held = strike(3000, g), strike(500, g)
    model = ChimeVAE()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": VAELoss("mean" if variant == "bad" else "sum"),
            "train_loader": DataLoader(TensorDataset(chimes, chimes), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(held, held), batch_size=500)}


WORKS = lambda score: score > 0.5      # share of the variance that comes back

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    vae, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        vae.train()
        total = 0.0
        for x, target in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](vae(x), target)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.3f}")
    vae.eval()
    x, _ = next(iter(p["val_loader"]))
    with torch.no_grad():
        recon, mu, logvar = vae(x)
    print("score:", 1 - F.mse_loss(recon, x).item() / (x - x.mean(0)).pow(2).mean().item())
