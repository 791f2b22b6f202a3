"""DDPM on a two-dimensional arc; the noise that the net has to predict is drawn anew and is not the noise that was mixed in, so the target has nothing to do with the input and the loss stays at 1; the right change: return the noise from q_sample and use it as the target."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

T = 100
betas = torch.linspace(1e-4, 0.08, T)
alphas = 1 - betas
abar = torch.cumprod(alphas, 0)


def arc(n, seed):
    rng = np.random.RandomState(seed)
    t = 0.5 + 4.5 * rng.rand(n)
    x = 1.3 * np.stack([np.cos(t), np.sin(t)], 1) + 0.02 * rng.randn(n, 2)
    return torch.tensor(x, dtype=torch.float32)


class Denoiser(nn.Module):
    def __init__(self, d=128):
        super().__init__()
        self.temb = nn.Embedding(T, d)
        self.inp = nn.Linear(2, d)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(d, d), nn.SiLU(), nn.Linear(d, d)) for _ in range(3)])
        self.out = nn.Linear(d, 2)

    def forward(self, x, t):
        h = self.inp(x) + self.temb(t)
        for b in self.blocks:
            h = h + b(h)
        return self.out(h)


def q_sample(x0, t, noise=None):
    if noise is None:
        noise = torch.randn_like(x0)
    a = abar[t].unsqueeze(1)
    return a.sqrt() * x0 + (1 - a).sqrt() * noise


def parts(variant):
    torch.manual_seed(7)
    net = Denoiser()

    def training_step(model, batch):
        x0, = batch
        t = torch.randint(0, T, (x0.size(0),))
        noise = torch.randn_like(x0)
        x_t = q_sample(x0, t) if variant == "bad" else q_sample(x0, t, noise)
        return nn.functional.mse_loss(model(x_t, t), noise)

    return {"model": net, "optimizer": torch.optim.AdamW(net.parameters(), 2e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(arc(8000, 0)), 128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(arc(1000, 1)), 1000)}


@torch.no_grad()
def sample(net, n):
    x = torch.randn(n, 2)
    for i in reversed(range(T)):
        eps = net(x, torch.full((n,), i))
        x = (x - betas[i] / (1 - abar[i]).sqrt() * eps) / alphas[i].sqrt()
        if i:
            x = x + betas[i].sqrt() * torch.randn_like(x)
    return x


WORKS = lambda score: score < 0.15  # mean distance from a sample to the nearest real point

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(40):
        tot = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad(); loss.backward(); p["optimizer"].step()
            tot += loss.item()
        if epoch % 10 == 9: print(epoch + 1, tot / len(p["train_loader"]))
    s = sample(p["model"], 1000)
    print("score:", torch.cdist(s, arc(1000, 1)).min(1).values.mean().item())
