"""DDPM on two moons; q_sample draws its own noise because it is not handed the noise that the network has to predict, so the target has nothing to do with x_t; change: hands the noise on."""
import argparse
import math

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_moons
from torch.utils.data import DataLoader, TensorDataset

T = 60
betas = torch.linspace(1e-3, 0.15, T)
alphas = 1.0 - betas
alphas_bar = torch.cumprod(alphas, 0)


class Denoiser(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
        self.inp = nn.Linear(2, width)
        self.body = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(width, 2)

    def forward(self, x, t):
        freq = torch.exp(-math.log(1000.0) * torch.arange(16) / 16)
        ang = t.float()[:, None] * freq[None]
        emb = self.time(torch.cat([ang.sin(), ang.cos()], 1))
        return self.out(self.body(self.inp(x) + emb))


def q_sample(x0, t, noise=None):
    if noise is None:
        noise = torch.randn_like(x0)
    ab = alphas_bar[t][:, None]
    return ab.sqrt() * x0 + (1 - ab).sqrt() * noise


@torch.no_grad()
def p_sample_loop(model, n):
    x = torch.randn(n, 2)
    for i in reversed(range(T)):
        t = torch.full((n,), i)
        eps = model(x, t)
        x = (x - betas[i] / (1 - alphas_bar[i]).sqrt() * eps) / alphas[i].sqrt()
        if i > 0:
            x = x + betas[i].sqrt() * torch.randn_like(x)
    return x


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def points(n, seed):
    xy, _ = make_moons(n, noise=0.06, random_state=seed)
    return torch.tensor((xy - np.array([0.5, 0.25])) * 1.3, dtype=torch.float32)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Denoiser()

    def training_step(model, batch):
        (x0,) = batch
        t = torch.randint(0, T, (len(x0),))
        noise = torch.randn_like(x0)
        x_t = q_sample(x0, t) if variant == "bad" else q_sample(x0, t, noise)
        return nn.functional.mse_loss(model(x_t, t), noise)

    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4),
        "train_loader": DataLoader(TensorDataset(points(8192, 0)), batch_size=256, shuffle=True),
        "val_loader": DataLoader(TensorDataset(points(1024, 1)), batch_size=1024),
        "training_step": training_step,
    }


WORKS = lambda score: score < 0.05

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=80)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(args.epochs):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}")
    print(f"score: {energy_distance(p_sample_loop(model, 1500), points(1500, 2)):.4f}")
