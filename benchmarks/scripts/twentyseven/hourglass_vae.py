"""A variational autoencoder of hourglass pictures (height of the sand above and below, width, tilt of the light). The reconstruction is averaged over the pixels while the KL term is summed over the latent dimensions, so the KL outweighs it 400 times and the latents collapse to the prior; the right change: sum the reconstruction over the pixels as well."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIDE = 20


def hourglasses(n):
    ys, xs = torch.meshgrid(torch.linspace(-1, 1, SIDE), torch.linspace(-1, 1, SIDE), indexing="ij")
    width = (0.5 + 0.4 * torch.rand(n))[:, None, None]
    fill = torch.rand(n)[:, None, None]
    dx = (0.15 * torch.randn(n))[:, None, None]
    x = (xs[None] - dx).abs()
    half = width * ys.abs()[None].clamp(min=0.08)
    glass = torch.sigmoid(25 * (half - x))
    top_sand = torch.sigmoid(15 * (ys[None] + fill)) * (ys[None] < 0)
    low_sand = torch.sigmoid(15 * (ys[None] - fill)) * (ys[None] >= 0)
    light = (0.85 + 0.15 * torch.rand(n))[:, None, None]
    image = glass * (0.25 + 0.7 * (top_sand + low_sand)) * light
    return (image + 0.04 * torch.randn_like(image)).clamp(0, 1)[:, None]


class Encoder(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.mu, self.logvar = nn.Linear(64, latent), nn.Linear(64, latent)

    def forward(self, x):
        h = self.body(x)
        return self.mu(h), self.logvar(h)


class VAE(nn.Module):
    def __init__(self, latent=6):
        super().__init__()
        self.encoder = Encoder(latent)
        self.decoder = nn.Sequential(nn.Linear(latent, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU(),
                                     nn.Linear(128, SIDE * SIDE), nn.Sigmoid(), nn.Unflatten(1, (1, SIDE, SIDE)))

    def forward(self, x):
        mu, logvar = self.encoder(x)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.decoder(z), mu, logvar


def make_elbo(reduction):
    def elbo(outputs, x):
        recon, mu, logvar = outputs
        bce = F.binary_cross_entropy(recon, x, reduction=reduction)
        if reduction == "sum":
            bce = bce / len(x)
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(dim=1).mean()
        return bce + kl
    return elbo


def explained(outputs, x):
    recon = outputs[0]
    return 1 - ((recon - x) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(17)
    train, val = hourglasses(2500), hourglasses(400)
    model = VAE()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": make_elbo("mean" if variant == "bad" else "sum"), "metric": explained,
            "train_loader": DataLoader(TensorDataset(train, train), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(val, val), batch_size=400)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    vae, opt = p["model"], p["optimizer"]
    for epoch in range(17):
        vae.train()
        total = 0.0
        for x, target in p["train_loader"]:
            loss = p["loss_fn"](vae(x), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 4 == 0:
            print(f"epoch {epoch}: elbo loss {total / len(p['train_loader']):.3f}")
    vae.eval()
    with torch.no_grad():
        x, target = next(iter(p["val_loader"]))
        print("score:", p["metric"](vae(x), target))
