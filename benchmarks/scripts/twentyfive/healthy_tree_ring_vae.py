"""VAE on tree-ring width series of 32 years, each with its own growth trend and a shared set of drought shapes. An ordinary sound script: squared error and KL both summed over features and averaged over the batch; the score is the share of held-out variance that the reconstruction from the latent mean explains."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
YEARS, LATENT = 32, 5


def core_samples(n, gen):
    t = torch.linspace(0, 1, YEARS)
    start = 1.2 + 0.4 * torch.randn(n, 1, generator=gen)
    slope = 1.0 + 0.6 * torch.rand(n, 1, generator=gen)
    growth = start * torch.exp(-slope * t)
    when = torch.rand(n, 1, generator=gen)
    depth = 0.3 + 0.5 * torch.rand(n, 1, generator=gen)
    drought = depth * torch.exp(-0.5 * ((t - when) / 0.12) ** 2)
    return growth - drought + 0.08 * torch.randn(n, YEARS, generator=gen)


class RingVAE(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(YEARS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.to_mu, self.to_logvar = nn.Linear(hidden, LATENT), nn.Linear(hidden, LATENT)
        self.decoder = nn.Sequential(nn.Linear(LATENT, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                                     nn.Linear(hidden, YEARS))

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.to_mu(h), self.to_logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.decoder(z), mu, logvar


def elbo_loss(outputs, x):
    recon, mu, logvar = outputs
    sigma = 0.25
    rec = F.mse_loss(recon, x, reduction="none").sum(1) / (2 * sigma ** 2)
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1)
    return (rec + kl).mean()


def explained(outputs, x):
    return (1 - (outputs[0] - x).pow(2).sum() / (x - x.mean(0)).pow(2).sum()).item()


def parts(variant):
    torch.manual_seed(13)
    gen = torch.Generator().manual_seed(130)
    train, val = core_samples(3000, gen), core_samples(500, gen)
    mean, std = train.mean(), train.std()
    train, val = (train - mean) / std, (val - mean) / std
    model = RingVAE()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": elbo_loss, "metric": explained,
            "train_loader": DataLoader(TensorDataset(train, train), batch_size=60, shuffle=True),
            "val_loader": DataLoader(TensorDataset(val, val), batch_size=500)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    vae, optimizer = p["model"], p["optimizer"]
    for epoch in range(14):
        vae.train()
        for x, target in p["train_loader"]:
            loss = p["loss_fn"](vae(x), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 3 == 2:
            print(f"epoch {epoch}: loss {loss.item():.2f}")
    vae.eval()
    with torch.no_grad():
        x, target = next(iter(p["val_loader"]))
        print("score:", p["metric"](vae(x), target))
