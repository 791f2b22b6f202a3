"""Small DDPM on a two-dimensional swiss roll; bad: the step never clears the gradients, so each update uses the sum of all gradients so far; change: optimizer.zero_grad() before backward. Score: sliced distance between samples and data (lower is better)."""
import math
import sys

import torch
from sklearn.datasets import make_swiss_roll
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

T = 60
betas = torch.linspace(1e-3, 0.12, T)
alphas = 1 - betas
abar = torch.cumprod(alphas, 0)


class NoisePredictor(nn.Module):
    def __init__(self, width=96, emb=24):
        super().__init__()
        self.time = nn.Embedding(T, emb)
        self.net = nn.Sequential(nn.Linear(2 + emb, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                                 nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))

    def forward(self, x, t):
        return self.net(torch.cat([x, self.time(t)], dim=1))


def diffusion_loss(model, x0):
    t = torch.randint(0, T, (len(x0),))
    eps = torch.randn_like(x0)
    a = abar[t].unsqueeze(1)
    xt = a.sqrt() * x0 + (1 - a).sqrt() * eps
    return nn.functional.mse_loss(model(xt, t), eps)


@torch.no_grad()
def sample(model, n):
    x = torch.randn(n, 2)
    for i in reversed(range(T)):
        t = torch.full((n,), i, dtype=torch.long)
        mean = (x - betas[i] / (1 - abar[i]).sqrt() * model(x, t)) / alphas[i].sqrt()
        x = mean + (betas[i].sqrt() * torch.randn_like(x) if i else 0)
    return x


def parts(variant):
    torch.manual_seed(0)
    roll, _ = make_swiss_roll(4500, noise=0.3, random_state=1)
    x = torch.tensor(roll[:, [0, 2]], dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    model = NoisePredictor()

    def step(model, batch, optimizer):
        (x0,) = batch
        if variant != "bad":
            optimizer.zero_grad()
        loss = diffusion_loss(model, x0)
        loss.backward()
        optimizer.step()
        return loss

    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), step=step,
                train_loader=DataLoader(TensorDataset(x[:4000]), batch_size=128, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(x[4000:]), batch_size=500))


WORKS = lambda score: score < 0.15

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(60):
        losses = [float(p["step"](model, batch, p["optimizer"])) for batch in p["train_loader"]]
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}")
    real = next(iter(p["val_loader"]))[0]
    fake = sample(model, len(real)).nan_to_num(0.0).clamp(-20, 20)
    angle = torch.arange(24) * math.pi / 24
    directions = torch.stack([angle.cos(), angle.sin()])
    a, b = (real @ directions).sort(0).values, (fake @ directions).sort(0).values
    score = (a - b).abs().mean().item()
    print(f"score: {score:.4f}")
