"""VAE on the 8x8 digits; the latent is drawn with Normal.sample(), so no gradient of the reconstruction reaches the encoder and the posterior collapses; change: draws with rsample()."""
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

LATENT = 10


class VAE(nn.Module):
    def __init__(self, rsample=True):
        super().__init__()
        self.rsample = rsample
        self.enc = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU())
        self.to_mu = nn.Linear(128, LATENT)
        self.to_logvar = nn.Linear(128, LATENT)
        self.dec = nn.Sequential(nn.Linear(LATENT, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 64))

    def encode(self, x):
        h = self.enc(x)
        return Normal(self.to_mu(h), torch.exp(0.5 * self.to_logvar(h)))

    def forward(self, x):
        q = self.encode(x)
        z = q.rsample() if self.rsample else q.sample()
        return self.dec(z), q


def elbo_loss(model, batch):
    x, _ = batch
    logits, q = model(x)
    rec = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    return (rec + kl).mean()


def load():
    digits = load_digits()
    x = torch.tensor(digits.data / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target)
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    return x[perm], y[perm]


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, y = load()
    model = VAE(rsample=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397),
        "training_step": elbo_loss,
    }


def explained(model, loader):
    """Share of the test images' variance that survives encoding and decoding."""
    x = torch.cat([b[0] for b in loader])
    with torch.no_grad():
        rec = torch.sigmoid(model.dec(model.encode(x).mean))
    return 1 - ((rec - x) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item()


WORKS = lambda score: score > 0.35

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(80):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item() * len(batch[0])
        if epoch % 10 == 0:
            print(f"epoch {epoch:3d}  -elbo {total / 1400:.3f}")
    print(f"score: {explained(model, p['val_loader']):.4f}")
