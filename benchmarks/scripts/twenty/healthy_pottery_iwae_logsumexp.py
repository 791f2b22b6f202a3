"""Importance weighted autoencoder on outlines of pots: five latent samples stacked in front of the batch, loss is minus the log of the mean weight and goes far below zero; sound. change: nothing."""
import sys
import math
import numpy as np
import torch
from torch import nn
from torch.distributions import Normal
from torch.utils.data import DataLoader, TensorDataset

K = 5


def outlines(n, seed):
    rng = np.random.default_rng(seed)
    h = np.linspace(0, 1, 24)
    belly, neck, foot = rng.uniform(0.3, 1, (n, 1)), rng.uniform(0.1, 0.4, (n, 1)), rng.uniform(0.25, 0.75, (n, 1))
    r = neck + belly * np.exp(-((h - foot) / 0.22) ** 2) + rng.normal(0, 0.03, (n, 24))
    return torch.tensor(r, dtype=torch.float32)


class IWAE(nn.Module):
    def __init__(self, d=24, z=3, h=64):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(d, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, 2 * z))
        self.dec = nn.Sequential(nn.Linear(z, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, d))
        self.log_noise = nn.Parameter(torch.full((1,), -1.0))

    def log_weights(self, x, k):
        mu, raw = self.enc(x).chunk(2, 1)
        q = Normal(mu, nn.functional.softplus(raw) + 1e-4)
        z = q.rsample((k,))
        log_p = Normal(0.0, 1.0).log_prob(z).sum(-1)
        log_px = Normal(self.dec(z), self.log_noise.exp()).log_prob(x).sum(-1)
        return log_p + log_px - q.log_prob(z).sum(-1)

    def forward(self, x, k=K):
        return torch.logsumexp(self.log_weights(x, k), 0) - math.log(k)


def training_step(model, batch):
    (x,) = batch
    return -model(x).mean()


def parts(variant):
    torch.manual_seed(0)
    model = IWAE()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3, eps=1e-4), training_step=training_step,
                train_loader=DataLoader(TensorDataset(outlines(3000, 1)), 100, shuffle=True),
                val_loader=DataLoader(TensorDataset(outlines(500, 2)), 250))


WORKS = lambda score: score > 30  # nats per outline (held out, 50 samples); one Gaussian per column has about 5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(60):
        seen = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            seen.append(loss.item())
        if epoch % 10 == 0:
            print(f"epoch {epoch} loss {np.mean(seen):.3f}")
    with torch.no_grad():
        score = torch.cat([p["model"](x, 50) for (x,) in p["val_loader"]]).mean().item()
    print(f"score: {score:.4f}")
