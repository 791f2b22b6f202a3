"""DDPM on two moons; the forward process draws its own noise, and the net is asked for another draw; change: the noise is handed on."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_moons
from torch.utils.data import DataLoader, TensorDataset

T = 100
betas = torch.linspace(1e-3, 0.12, T)
alphas = 1.0 - betas
alphas_bar = torch.cumprod(alphas, 0)


class Denoiser(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.temb = nn.Embedding(T, width)
        self.inp = nn.Linear(2, width)
        self.body = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                                  nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, x, t):
        return self.body(self.inp(x) + self.temb(t))


def q_sample(x0, t, noise=None):
    """x_t given x_0"""
    if noise is None:
        noise = torch.randn_like(x0)
    ab = alphas_bar[t].unsqueeze(1)
    return ab.sqrt() * x0 + (1 - ab).sqrt() * noise


@torch.no_grad()
def p_sample_loop(model, n):
    x = torch.randn(n, 2)
    for i in reversed(range(T)):
        t = torch.full((n,), i, dtype=torch.long)
        eps = model(x, t)
        x = (x - betas[i] / (1 - alphas_bar[i]).sqrt() * eps) / alphas[i].sqrt()
        if i > 0:
            x = x + betas[i].sqrt() * torch.randn_like(x)
    return x


def data():
    x, _ = make_moons(4000, noise=0.05, random_state=0)
    x = torch.tensor(x, dtype=torch.float32)
    return (x - x.mean(0)) / x.std(0)


def parts(variant):
    torch.manual_seed(0)
    model = Denoiser()
    x = data()

    def training_step(model, batch):
        (x0,) = batch
        t = torch.randint(0, T, (x0.shape[0],))
        noise = torch.randn_like(x0)
        if variant == "bad":
            x_t = q_sample(x0, t)
        else:
            x_t = q_sample(x0, t, noise)
        return F.mse_loss(model(x_t, t), noise)

    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(x[:3500]), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[3500:]), batch_size=250),
            "training_step": training_step}


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


WORKS = lambda score: score < 0.03

if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    model, opt, step = p["model"], p["optimizer"], p["training_step"]
    for epoch in range(60):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = step(model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    print(f"score: {energy_distance(p_sample_loop(model, 1500), data()[:1500]):.4f}")
