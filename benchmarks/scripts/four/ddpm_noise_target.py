"""Diffusion model of 2-D points; the noise that is to be predicted is not the one that was mixed in (q_sample draws its own); change: it is handed to q_sample."""
import math
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

T = 100
betas = torch.linspace(1e-3, 0.12, T)
alphas = 1 - betas
alpha_bar = torch.cumprod(alphas, 0)
CENTRES = torch.tensor([[1.2, 1.2], [-1.2, 1.2], [1.2, -1.2], [-1.2, -1.2]])


def extract(a, t, x):
    return a[t].reshape(-1, *([1] * (x.dim() - 1)))


def q_sample(x0, t, noise=None):
    if noise is None:
        noise = torch.randn_like(x0)
    return extract(alpha_bar.sqrt(), t, x0) * x0 + extract((1 - alpha_bar).sqrt(), t, x0) * noise


class TimeEmbedding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.register_buffer("freq", torch.exp(-math.log(1000) * torch.arange(dim // 2) / (dim // 2)))

    def forward(self, t):
        a = t[:, None].float() * self.freq
        return torch.cat([a.sin(), a.cos()], -1)


class Denoiser(nn.Module):
    def __init__(self, h=128, e=32):
        super().__init__()
        self.time = nn.Sequential(TimeEmbedding(e), nn.Linear(e, h), nn.SiLU())
        self.inp, self.mid, self.out = nn.Linear(2, h), nn.Sequential(nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU()), nn.Linear(h, 2)

    def forward(self, x, t):
        return self.out(self.mid(self.inp(x) + self.time(t)))


def points(n, seed):
    g = torch.Generator().manual_seed(seed)
    return TensorDataset(CENTRES[torch.randint(0, 4, (n,), generator=g)] + 0.15 * torch.randn(n, 2, generator=g))


def parts(variant):
    torch.manual_seed(0)
    net = Denoiser()

    def p_losses(model, batch):
        x0 = batch[0]
        t = torch.randint(0, T, (len(x0),))
        noise = torch.randn_like(x0)
        if variant == "bad":
            x_noisy = q_sample(x0, t)
        else:
            x_noisy = q_sample(x0, t, noise)
        return F.mse_loss(model(x_noisy, t), noise)

    return {"model": net, "optimizer": torch.optim.AdamW(net.parameters(), lr=2e-3), "training_step": p_losses,
            "train_loader": DataLoader(points(6400, 1), batch_size=128, shuffle=True),
            "val_loader": DataLoader(points(1000, 2), batch_size=500)}


WORKS = lambda score: score > 0.6


@torch.no_grad()
def sample(net, n=500):
    x = torch.randn(n, 2)
    for i in reversed(range(T)):
        t = torch.full((n,), i)
        eps = net(x, t)
        x = (x - betas[i] / (1 - alpha_bar[i]).sqrt() * eps) / alphas[i].sqrt()
        if i:
            x = x + betas[i].sqrt() * torch.randn_like(x)
    return x


def near_a_centre(x):
    return (torch.cdist(x, CENTRES).min(1).values < 0.5).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        net.train()
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](net, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1} loss {sum(losses) / len(losses):.4f}")
    torch.manual_seed(1)
    print(f"score: {near_a_centre(sample(net.eval())):.4f}")
