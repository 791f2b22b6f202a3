"""DDPM for the thickness of wing sections (12 numbers per section) with the linear betas from 1e-4 to 0.02. With few time steps these betas leave a good part of the signal at the last step, while sampling starts from pure noise, so that the samples are off; the right change: 1000 steps (or larger betas), so that nothing of the signal is left.
Report: https://github.com/IDEALLab/EngiOpt/pull/67"""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
D = 12


def sections(n, seed=0):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, D)
    slim = rng.random(n) < 0.8
    thick = np.where(slim, rng.normal(0.75, 0.06, n), rng.normal(0.2, 0.06, n))
    camber = rng.normal(0, 0.08, (n, 1))
    curve = thick[:, None] + camber * np.sin(np.pi * t)[None] + 0.02 * rng.standard_normal((n, D))
    return torch.tensor(curve.clip(-1, 1), dtype=torch.float32)


class Denoiser(nn.Module):
    def __init__(self, steps, width=128):
        super().__init__()
        self.steps = steps
        betas = torch.linspace(1e-4, 0.02, steps)
        self.register_buffer("betas", betas)
        self.register_buffer("alpha_bar", torch.cumprod(1 - betas, 0))
        self.net = nn.Sequential(nn.Linear(D + 16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, D))

    def forward(self, x, t):
        freq = torch.exp(torch.linspace(0, 5, 8))
        a = t[:, None].float() / self.steps * freq[None]
        return self.net(torch.cat([x, a.sin(), a.cos()], 1))

    @torch.no_grad()
    def sample(self, n):
        x = torch.randn(n, D)
        for k in reversed(range(self.steps)):
            b, ab = self.betas[k], self.alpha_bar[k]
            eps = self(x, torch.full((n,), k))
            x = (x - b / (1 - ab).sqrt() * eps) / (1 - b).sqrt()
            if k > 0:
                x = x + b.sqrt() * torch.randn_like(x)
        return x


def training_step(model, batch):
    (x0,) = batch
    t = torch.randint(0, model.steps, (len(x0),))
    eps = torch.randn_like(x0)
    ab = model.alpha_bar[t][:, None]
    xt = ab.sqrt() * x0 + (1 - ab).sqrt() * eps
    return (model(xt, t) - eps).pow(2).mean()


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def parts(variant):
    torch.manual_seed(0)
    model = Denoiser(100 if variant == "bad" else 1000)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(sections(2000)), batch_size=100, shuffle=True)}


WORKS = lambda score: score < 0.15

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(150):
        model.train()
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
        if epoch % 30 == 29:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}")
    model.eval()
    s = model.sample(1000)
    real = sections(1000, seed=5)
    print("mean thickness", s.mean().item(), "real", real.mean().item())
    print("score:", energy_distance(s, real))
