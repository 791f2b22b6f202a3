"""DDPM on two moons; q_sample draws a noise of its own because the caller does not hand over the one it predicts, so the target is independent of the input; change: `fixed` passes the noise."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_moons
from torch.utils.data import DataLoader, TensorDataset

T = 100
betas = torch.linspace(1e-3, 0.12, T)
alphas = 1 - betas
alpha_bar = torch.cumprod(alphas, 0)
WORKS = lambda score: score < 0.06         # energy distance of the samples to fresh data


def q_sample(x0, t, noise=None):
    if noise is None:
        noise = torch.randn_like(x0)
    ab = alpha_bar[t].unsqueeze(1)
    return ab.sqrt() * x0 + (1 - ab).sqrt() * noise


def time_embedding(t, dim=32):
    freqs = torch.exp(-math.log(1000) * torch.arange(dim // 2) / (dim // 2))
    ang = t.float()[:, None] * freqs
    return torch.cat([ang.sin(), ang.cos()], 1)


class Denoiser(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.inp = nn.Linear(2, width)
        self.temb = nn.Linear(32, width)
        self.body = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                                  nn.Linear(width, 2))

    def forward(self, x, t):
        return self.body(self.inp(x) + self.temb(time_embedding(t)))


@torch.no_grad()
def sample(model, n):
    x = torch.randn(n, 2)
    for i in reversed(range(T)):
        t = torch.full((n,), i)
        eps = model(x, t)
        x = (x - betas[i] / (1 - alpha_bar[i]).sqrt() * eps) / alphas[i].sqrt()
        if i > 0:
            x = x + betas[i].sqrt() * torch.randn_like(x)
    return x


def moons(n, seed):
    x, _ = make_moons(n, noise=0.05, random_state=seed)
    return (torch.tensor(x, dtype=torch.float32) - torch.tensor([0.5, 0.25])) / torch.tensor([0.87, 0.5])


def parts(variant):
    torch.manual_seed(0)
    train_loader = DataLoader(TensorDataset(moons(8000, 0)), batch_size=128, shuffle=True)
    model = Denoiser()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def training_step(model, batch):
        x0 = batch[0]
        t = torch.randint(0, T, (x0.shape[0],))
        noise = torch.randn_like(x0)
        x_t = q_sample(x0, t) if variant == "bad" else q_sample(x0, t, noise)
        return F.mse_loss(model(x_t, t), noise)

    return dict(model=model, optimizer=optimizer, train_loader=train_loader, training_step=training_step)


def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(60):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} mse {sum(losses) / len(losses):.4f}")
    torch.manual_seed(1)
    print("score:", round(energy_distance(sample(model, 2000), moons(2000, 7)), 4))
