"""VAE on the outlines (radius at 64 angles) of starfish. Sound: the negative ELBO with a Gaussian decoder of known noise 0.1, summed over angles and averaged over the batch, and the closed-form KL; the score is the explained variance of the reconstruction from the posterior mean, with generated outlines checked to have the right spread."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIGMA = 0.1


def outlines(n, rng):
    a = np.linspace(0, 2 * np.pi, 64, endpoint=False)[None]
    size = rng.normal(1.0, 0.15, (n, 1))
    depth = rng.uniform(0.2, 0.6, (n, 1))
    turn = rng.uniform(-0.3, 0.3, (n, 1))
    squash = rng.normal(0, 0.1, (n, 1))
    r = size * (1 + depth * np.cos(5 * (a - turn)) + squash * np.cos(2 * a))
    return (r + rng.normal(0, 0.05, r.shape)).astype(np.float32)


class VAE(nn.Module):
    def __init__(self, n=64, hidden=96, latent=5):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(n, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.mu, self.logvar = nn.Linear(hidden, latent), nn.Linear(hidden, latent)
        self.dec = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, n))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.dec(z), mu, logvar


def elbo_loss(output, x):
    recon, mu, logvar = output
    nll = 0.5 * ((recon - x) ** 2).sum(1) / SIGMA ** 2
    kl = -0.5 * (1 + logvar - mu ** 2 - logvar.exp()).sum(1)
    return (nll + kl).mean()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    train, val = outlines(3000, rng), outlines(500, rng)
    m = train.mean(0)
    train, val = torch.from_numpy(train - m), torch.from_numpy(val - m)
    model = VAE()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": elbo_loss,
            "train_loader": DataLoader(TensorDataset(train, train), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(val, val), batch_size=250),
            "metric": lambda out, x: elbo_loss(out, x).item()}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    vae = p["model"]
    for epoch in range(24):
        vae.train()
        tot = 0
        for x, _ in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = elbo_loss(vae(x), x)
            loss.backward()
            p["optimizer"].step()
            tot += loss.item()
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1}: -elbo {tot / len(p['train_loader']):.2f}")
    vae.eval()
    with torch.no_grad():
        x = torch.cat([b for b, _ in p["val_loader"]])
        recon = vae(x)[0]
        ev = 1 - ((recon - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
        made = vae.dec(torch.randn(2000, 5))
        ratio = made.var(0).sum() / x.var(0).sum()
    print(f"explained {ev:.3f}, variance of samples / data {ratio:.2f}")
    print("score:", ev.item() if 0.6 < ratio < 1.5 else 0.0)
