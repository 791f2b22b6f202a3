"""VAE of a leak-detection array with a learned noise level and free bits (the KL of each unit is clamped from below, so it has no gradient for a while); the loss goes from positive to well below zero; one sensor is constant; sound."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def array(n, gen):
    place = torch.rand(n, 2, generator=gen)
    nodes = torch.cartesian_prod(torch.linspace(0, 1, 5), torch.linspace(0, 1, 5))
    d2 = ((place[:, None] - nodes[None]) ** 2).sum(-1)
    x = torch.exp(-d2 / 0.08) + 0.05 * torch.randn(n, 25, generator=gen)
    x[:, 12] = 0.0                  # unplugged
    return x, place


class LeakVAE(nn.Module):
    def __init__(self, z=3):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(25, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2 * z))
        self.dec = nn.Sequential(nn.Linear(z, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 25))
        self.log_noise = nn.Parameter(torch.zeros(25))

    def forward(self, x):
        mu, logvar = self.enc(x).chunk(2, 1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar


def training_step(model, batch):
    x, _ = batch
    rec, mu, logvar = model(x)
    s = model.log_noise.clamp(min=-4)
    nll = (0.5 * ((x - rec) / s.exp()) ** 2 + s + 0.5 * math.log(2 * math.pi)).sum(1).mean()
    kl = 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).mean(0)
    return nll + kl.clamp(min=0.25).sum()


def parts(variant):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(31)
    x, place = array(2400, gen)
    model = LeakVAE()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(x[:2000], place[:2000]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[2000:], place[2000:]), batch_size=400)}


WORKS = lambda score: score > 0.85      # explained variance of the live sensors

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(30):
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch:2d} loss {total / len(p['train_loader']):.3f}")
    with torch.no_grad():
        x, _ = next(iter(p["val_loader"]))
        mu = model.enc(x).chunk(2, 1)[0]
        score = 1 - (model.dec(mu) - x).pow(2).mean() / (x - x.mean(0)).pow(2).mean()
    print(f"score: {score:.4f}")
