"""DDPM on two moons; the mistake: q_sample draws noise of its own while the loss is against another draw, so there is nothing to predict (loss stays at 1); change: `fixed` hands the noise to q_sample."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_moons
from torch.utils.data import DataLoader, TensorDataset

T = 60
BETAS = torch.linspace(1e-3, 0.12, T)
ALPHAS = 1 - BETAS
ABAR = ALPHAS.cumprod(0)
WORKS = lambda score: score < 0.15


def q_sample(x0, t, noise=None):
    if noise is None:
        noise = torch.randn_like(x0)
    a = ABAR[t].unsqueeze(1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


class Denoiser(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.time = nn.Embedding(T, width)
        self.inp = nn.Linear(2, width)
        self.body = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                                  nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, x, t):
        return self.body(self.inp(x) + self.time(t))


@torch.no_grad()
def sample(model, n):
    x = torch.randn(n, 2)
    for i in reversed(range(T)):
        eps = model(x, torch.full((n,), i))
        x = (x - BETAS[i] / (1 - ABAR[i]).sqrt() * eps) / ALPHAS[i].sqrt()
        if i > 0:
            x = x + BETAS[i].sqrt() * torch.randn_like(x)
    return x


def moons(n, seed):
    x, _ = make_moons(n, noise=0.05, random_state=seed)
    x = torch.tensor(x, dtype=torch.float32)
    return (x - torch.tensor([0.5, 0.25])) / torch.tensor([0.87, 0.5])


def nearest(a, b):
    """mean distance from a's points to the nearest of b's, both ways"""
    d = torch.cdist(a, b)
    return 0.5 * (d.min(1).values.mean() + d.min(0).values.mean()).item()


def parts(variant="fixed"):
    torch.manual_seed(6)
    model = Denoiser()

    def training_step(model, batch):
        (x0,) = batch
        t = torch.randint(0, T, (len(x0),))
        noise = torch.randn_like(x0)
        xt = q_sample(x0, t, noise) if variant == "fixed" else q_sample(x0, t)
        return F.mse_loss(model(xt, t), noise)

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(moons(8000, 0)), batch_size=128, shuffle=True),
            "training_step": training_step}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(60):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 10 == 0:
            print(f"epoch {epoch}: {sum(losses) / len(losses):.4f}")
    torch.manual_seed(1)
    print(f"score: {nearest(sample(model, 1000), moons(1000, 1)):.4f}")
