"""Denoising diffusion of points on eight small rings; the forward process adds uniform noise (rand_like) while the sampler starts from a normal; change: randn_like."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

T = 60
WORKS = lambda distance: distance < 0.25


def toy_points(n, seed):
    g = torch.Generator().manual_seed(seed)
    k = torch.randint(8, (n,), generator=g) * (np.pi / 4)
    phi = torch.rand(n, generator=g) * 2 * np.pi
    pts = torch.stack([2 * k.cos() + 0.25 * phi.cos(), 2 * k.sin() + 0.25 * phi.sin()], 1)
    return pts / 1.45


class Denoiser(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.time = nn.Embedding(T, width)
        self.inp = nn.Linear(2, width)
        self.mid = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, 2)

    def forward(self, x, t):
        emb = self.time(t)
        h = self.inp(x)
        for layer in self.mid:
            h = h + nn.functional.silu(layer(h + emb))
        return self.out(h)


class Diffusion:
    def __init__(self, variant):
        self.variant = variant
        self.beta = torch.linspace(1e-3, 0.15, T)
        self.alpha = 1 - self.beta
        self.alpha_hat = torch.cumprod(self.alpha, 0)

    def noise_points(self, x, t):
        a = self.alpha_hat[t].sqrt()[:, None]
        b = (1 - self.alpha_hat[t]).sqrt()[:, None]
        eps = torch.rand_like(x) if self.variant == "bad" else torch.randn_like(x)
        return a * x + b * eps, eps

    def training_step(self, model, batch):
        x = batch[0]
        t = torch.randint(T, (len(x),))
        xt, eps = self.noise_points(x, t)
        return ((model(xt, t) - eps) ** 2).mean()

    @torch.no_grad()
    def sample(self, model, n):
        x = torch.randn(n, 2)
        for i in reversed(range(T)):
            eps = model(x, torch.full((n,), i))
            x = (x - self.beta[i] / (1 - self.alpha_hat[i]).sqrt() * eps) / self.alpha[i].sqrt()
            if i:
                x = x + self.beta[i].sqrt() * torch.randn_like(x)
        return x


def sliced_distance(a, b, n_dirs=64):
    th = torch.linspace(0, np.pi, n_dirs)
    d = torch.stack([th.cos(), th.sin()])
    return ((a @ d).sort(0).values - (b @ d).sort(0).values).abs().mean().item()


def parts(variant="fixed"):
    torch.manual_seed(4)
    model, diffusion = Denoiser(), Diffusion(variant)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(toy_points(8000, 0)), batch_size=200, shuffle=True)
    return {"model": model, "optimizer": opt, "train_loader": loader,
            "training_step": diffusion.training_step, "diffusion": diffusion}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, diffusion = p["model"], p["optimizer"], p["diffusion"]
    for epoch in range(40):
        losses = []
        for batch in p["train_loader"]:
            loss = diffusion.training_step(model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} mse {np.mean(losses):.4f}")
    d = sliced_distance(diffusion.sample(model, 2000), toy_points(2000, 99))
    print("score: %.4f" % d)
