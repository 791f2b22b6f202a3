"""A variational autoencoder of the outlines of soup bowls (40 radii along the height, in centimetres, standardised); held-out negative ELBO. Nothing odd: reconstruction and divergence both summed over their dimensions and averaged over the batch, Adam."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
POINTS, LATENT, NOISE = 40, 4, 0.3


def turn_bowls(n):
    h = torch.linspace(0, 1, POINTS)
    base, flare = 3 + torch.rand(n, 1), 2 + 4 * torch.rand(n, 1)
    curve = torch.exp(0.4 * torch.randn(n, 1) - 0.5)
    rim = 0.8 * torch.rand(n, 1) * torch.sigmoid((h - 0.9) * 40)
    foot = 0.6 * (torch.rand(n, 1) > 0.5) * torch.exp(-(h / 0.08) ** 2)
    return base + flare * h ** curve + rim - foot + 0.1 * torch.randn(n, POINTS)


class BowlVAE(nn.Module):
    def __init__(self, hidden=96):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(POINTS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mu, self.logvar = nn.Linear(hidden, LATENT), nn.Linear(hidden, LATENT)
        self.decoder = nn.Sequential(nn.Linear(LATENT, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, POINTS))

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.decoder(z), mu, logvar


def negative_elbo(outputs, x):
    recon, mu, logvar = outputs
    nll = 0.5 * ((x - recon) / NOISE).pow(2) + math.log(NOISE) + 0.5 * math.log(2 * math.pi)
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())
    return (nll.sum(1) + kl.sum(1)).mean()


def parts(variant):
    torch.manual_seed(8)
    bowls = turn_bowls(3600)
    train, held = bowls[:3000], bowls[3000:]
    mean, std = train.mean(0), train.std()
    train, held = (train - mean) / std, (held - mean) / std
    model = BowlVAE()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": negative_elbo,
            "train_loader": DataLoader(TensorDataset(train, train), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(held, held), batch_size=600),
            "metric": lambda out, x: negative_elbo(out, x).item()}


WORKS = lambda score: score < 0.0

if __name__ == "__main__":
    p = parts("fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        running = 0.0
        for x, target in p["train_loader"]:
            loss = p["loss_fn"](model(x), target)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            running += loss.item() * len(x)
        model.eval()
        with torch.no_grad():
            score = sum(p["metric"](model(x), t) for x, t in p["val_loader"]) / len(p["val_loader"])
        if epoch % 4 == 3:
            print(f"epoch {epoch}: train {running / 3000:.2f} held out {score:.2f}")
    print("score:", score)
