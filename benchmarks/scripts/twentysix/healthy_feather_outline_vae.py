"""Sound: a VAE of feather outlines (32 half-widths along the shaft). Nothing odd: Gaussian decoder with a fixed noise of 0.1, both terms summed over dimensions and averaged over feathers; the score is the share of held-out variance the reconstruction from the mean code explains."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
POINTS, LATENT, SIGMA = 32, 5, 0.1


def feathers(n, rng):
    s = np.linspace(0.02, 0.98, POINTS)[None]
    length = rng.normal(1.0, 0.15, (n, 1))
    peak = rng.uniform(0.3, 0.7, (n, 1))
    notch = rng.uniform(0, 0.4, (n, 1)) * np.exp(-((s - rng.uniform(0.6, 0.9, (n, 1))) / 0.08) ** 2)
    width = s ** (2 * peak) * (1 - s) ** (2 * (1 - peak)) * 2 * length
    return (width - notch * width + rng.normal(0, 0.03, (n, POINTS))).astype(np.float32)


class FeatherVAE(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(POINTS, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU())
        self.mu, self.logvar = nn.Linear(hidden, LATENT), nn.Linear(hidden, LATENT)
        self.decoder = nn.Sequential(nn.Linear(LATENT, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, POINTS))

    def forward(self, x):
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.decoder(z), mu, logvar


def negative_elbo(outputs, targets):
    recon, mu, logvar = outputs
    fit = ((recon - targets) ** 2).sum(1) / (2 * SIGMA ** 2)
    kl = 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).sum(1)
    return (fit + kl).mean()


def explained(outputs, targets):
    return 1 - ((outputs[0] - targets) ** 2).sum() / ((targets - targets.mean(0)) ** 2).sum()


def parts(variant):
    torch.manual_seed(13)
    x = feathers(2400, np.random.default_rng(13))
    centre, scale = x[:2000].mean(0), x[:2000].std()
    x = torch.from_numpy((x - centre) / scale)
    model = FeatherVAE()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": negative_elbo, "metric": explained,
            "train_loader": DataLoader(TensorDataset(x[:2000], x[:2000]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[2000:], x[2000:]), batch_size=400)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    model = p["model"]
    for epoch in range(30):
        model.train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](model(x), y).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: -ELBO {loss.item():.2f}, explained {score:.3f}")
    print("score:", score)
