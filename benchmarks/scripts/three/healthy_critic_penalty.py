"""Healthy: WGAN with gradient penalty on two arcs; losses are negative and wander, three critic steps for each of the generator; nothing to change."""
import math
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

Z = 4


def arcs(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.rand(n, generator=g) * math.pi
    upper = torch.rand(n, generator=g) < 0.5
    x = torch.where(upper, t.cos() * 1.5, 1.5 - t.cos() * 1.5)
    y = torch.where(upper, t.sin() * 1.5, 0.5 - t.sin() * 1.5)
    return torch.stack([x + 2, y - 1], 1) + 0.08 * torch.randn(n, 2, generator=g)


class WGAN(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(Z, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, 2))
        self.critic = nn.Sequential(nn.Linear(2, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, 1))

    def forward(self, z):
        return self.generator(z)

    def penalty(self, real, fake):
        a = torch.rand(len(real), 1)
        mix = (a * real + (1 - a) * fake).requires_grad_(True)
        grad = torch.autograd.grad(self.critic(mix).sum(), mix, create_graph=True)[0]
        return (grad.norm(dim=1) - 1).pow(2).mean()


def parts(variant):
    torch.manual_seed(0)
    model = WGAN()
    opt_g = torch.optim.Adam(model.generator.parameters(), lr=4e-4, betas=(0.0, 0.9))
    opt_c = torch.optim.Adam(model.critic.parameters(), lr=1e-3, betas=(0.0, 0.9))

    def step(net, batch, optimizer):
        real = batch[0]
        for _ in range(3):
            with torch.no_grad():
                fake = net.generator(torch.randn(len(real), Z))
            c_loss = net.critic(fake).mean() - net.critic(real).mean() + 2 * net.penalty(real, fake)
            opt_c.zero_grad()
            c_loss.backward()
            opt_c.step()
        optimizer.zero_grad()
        g_loss = -net.critic(net.generator(torch.randn(len(real), Z))).mean()
        g_loss.backward()
        optimizer.step()
        return g_loss

    return {"model": model, "optimizer": opt_g, "step": step,
            "train_loader": DataLoader(TensorDataset(arcs(6400, 1)), batch_size=128, shuffle=True)}


WORKS = lambda score: score > 0.5


def distance(a, b):
    d = torch.randn(2, 60, generator=torch.Generator().manual_seed(3))
    d = d / d.norm(dim=0)
    return ((a @ d).sort(0).values - (b @ d).sort(0).values).abs().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, truth = p["model"], arcs(2000, 2)
    z = torch.randn(2000, Z, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        first = distance(net(z), truth)
    for epoch in range(24):
        gl = [p["step"](net, b, p["optimizer"]).item() for b in p["train_loader"]]
        with torch.no_grad():
            now = distance(net(z), truth)
        print(f"epoch {epoch} g_loss {sum(gl) / len(gl):+.3f} distance {now:.3f} (untrained {first:.3f})")
    print(f"score: {1 - now / first:.4f}")
