"""VAE on digits; reconstruction is a mean over pixels and batch while the KL term is a sum over both, so KL outweighs it some thousand times and the posterior collapses (the mean image for every input); the right change: sum the reconstruction over pixels too and average both over the batch."""
import sys
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class VAE(nn.Module):
    def __init__(self, latent=10):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 128), nn.ReLU())
        self.mu = nn.Linear(128, latent)
        self.logvar = nn.Linear(128, latent)
        self.dec = nn.Sequential(nn.Linear(latent, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid())

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu) if self.training else mu
        return self.dec(z), mu, logvar


def make_loss(variant):
    def loss_fn(output, target):
        recon, mu, logvar = output
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        if variant == "bad":
            return F.binary_cross_entropy(recon, target) + kl
        return (F.binary_cross_entropy(recon, target, reduction="sum") + kl) / len(target)
    return loss_fn


def parts(variant):
    torch.manual_seed(42)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    model = VAE()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(TensorDataset(x[:1500], x[:1500]), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1500:], x[1500:]), batch_size=64),
        "loss_fn": make_loss(variant),
    }


WORKS = lambda score: score < 0.6  # squared error of the reconstruction over the pixels' variance

if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else "bad"
    p = parts(variant)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 41):
        model.train()
        total = 0
        for data, target in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(data), target)
            loss.backward()
            total += loss.item()
            optimizer.step()
        if epoch % 10 == 0:
            print(f"====> Epoch: {epoch} Average loss: {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        x = torch.cat([b[0] for b in p["val_loader"]])
        err = ((model(x)[0] - x) ** 2).mean() / ((x - x.mean(0)) ** 2).mean()
    print(f"score: {err.item():.4f}")
