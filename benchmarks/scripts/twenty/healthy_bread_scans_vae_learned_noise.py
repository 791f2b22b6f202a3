"""Sound: a VAE whose decoder has one learned noise level; the loss is summed over values and rightly goes far below zero. change: nothing."""
import math
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

POINTS, CODE = 40, 4


def crust_profiles(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.linspace(-1, 1, POINTS)
    width = 0.35 + 0.3 * torch.rand(n, 1, generator=g)
    height = 0.5 + 0.5 * torch.rand(n, 1, generator=g)
    lean = 0.3 * torch.randn(n, 1, generator=g)
    profile = height * torch.exp(-((x - lean) / width) ** 2)
    return TensorDataset(profile + 0.02 * torch.randn(n, POINTS, generator=g))


class NoiseVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(POINTS, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU())
        self.mean, self.log_var = nn.Linear(96, CODE), nn.Linear(96, CODE)
        self.dec = nn.Sequential(nn.Linear(CODE, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, POINTS))
        self.log_noise = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        h = self.enc(x)
        mean, log_var = self.mean(h), self.log_var(h).clamp(-8, 4)
        z = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        return self.dec(z), mean, log_var

    def negative_elbo(self, x):
        made, mean, log_var = self(x)
        log_noise = self.log_noise.clamp(min=-6)
        nll = 0.5 * ((x - made) / log_noise.exp()) ** 2 + log_noise + 0.5 * math.log(2 * math.pi)
        kl = 0.5 * (mean ** 2 + log_var.exp() - 1 - log_var)
        return nll.sum(1).mean() + kl.sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    model = NoiseVAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return {"model": model, "optimizer": optimizer, "training_step": lambda m, batch: m.negative_elbo(batch[0]),
            "train_loader": DataLoader(crust_profiles(3000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(crust_profiles(500, 2), batch_size=250)}


WORKS = lambda score: score > 0.9


@torch.no_grad()
def rebuilt(model, loader):
    x = torch.cat([b[0] for b in loader])
    made = model.dec(model.mean(model.enc(x)))
    return (1 - (made - x).pow(2).sum() / (x - x.mean(0)).pow(2).sum()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(40):
        total = 0.0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.3f}, noise {model.log_noise.exp().item():.4f}")
    score = rebuilt(model, p["val_loader"])
    print(f"score: {score:.4f}")
