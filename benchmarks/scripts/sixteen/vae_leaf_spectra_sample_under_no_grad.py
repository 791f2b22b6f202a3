"""VAE of leaf reflectance spectra; bad draws the latent sample inside torch.no_grad(), so the encoder hears only the KL term; change: the sample is drawn with gradients."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def spectra(n, gen):
    wl = torch.linspace(0, 1, 60)
    centre = 0.2 + 0.6 * torch.rand(n, 1, generator=gen)
    depth = 0.5 + torch.rand(n, 1, generator=gen)
    slope = torch.randn(n, 1, generator=gen)
    y = slope * (wl - 0.5) - depth * torch.exp(-((wl - centre) / 0.08) ** 2)
    return y + 0.03 * torch.randn(n, 60, generator=gen)


class SpectralVAE(nn.Module):
    def __init__(self, fast, z=4):
        super().__init__()
        self.fast = fast
        self.encoder = nn.Sequential(nn.Linear(60, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU())
        self.mu, self.logvar = nn.Linear(48, z), nn.Linear(48, z)
        self.decoder = nn.Sequential(nn.Linear(z, 48), nn.ReLU(), nn.Linear(48, 96), nn.ReLU(), nn.Linear(96, 60))

    def sample(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        if self.fast:
            with torch.no_grad():
                z = self.sample(mu, logvar)
        else:
            z = self.sample(mu, logvar)
        return self.decoder(z), mu, logvar


def elbo_step(model, batch):
    x, = batch
    rec, mu, logvar = model(x)
    nll = ((rec - x) ** 2 / (2 * 0.05)).sum(1)
    kl = 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).sum(1)
    return (nll + kl).mean()


def parts(variant):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(5)
    train, val = spectra(2000, gen), spectra(400, gen)
    model = SpectralVAE(variant == "bad")
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "training_step": elbo_step,
            "train_loader": DataLoader(TensorDataset(train), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(val), batch_size=400)}


WORKS = lambda score: score > 0.7      # share of the variance that the mean code explains

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    vae = p["model"]
    for epoch in range(20):
        vae.train()
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](vae, batch)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"[{epoch:02d}] -elbo {total / len(p['train_loader']):.3f}")
    vae.eval()
    with torch.no_grad():
        x, = next(iter(p["val_loader"]))
        rec = vae.decoder(vae.mu(vae.encoder(x)))
        score = 1 - ((rec - x) ** 2).mean() / x.sub(x.mean(0)).pow(2).mean()
    print(f"score: {score:.4f}")
