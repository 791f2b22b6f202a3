"""Healthy: Wasserstein GAN with gradient penalty on eight clusters, five critic steps to one of the generator, Adam without momentum, losses of either sign."""
import math
import sys
import torch
from torch import nn, autograd
from torch.utils.data import DataLoader, TensorDataset

LATENT = 4
ANGLES = torch.arange(8) * (2 * math.pi / 8)
CENTRES = 1.5 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


def clusters(n, seed):
    g = torch.Generator().manual_seed(seed)
    return TensorDataset(CENTRES[torch.randint(0, 8, (n,), generator=g)] + 0.08 * torch.randn(n, 2, generator=g))


class Pair(nn.Module):
    def __init__(self, h=96):
        super().__init__()
        f = lambda i, o: nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, o))
        self.generator, self.critic = f(LATENT, 2), f(2, 1)

    def forward(self, z):
        return self.generator(z)


def penalty(critic, real, fake):
    a = torch.rand(len(real), 1)
    x = (a * real + (1 - a) * fake).requires_grad_(True)
    grad, = autograd.grad(critic(x).sum(), x, create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    net = Pair()
    opt_c = torch.optim.Adam(net.critic.parameters(), lr=1e-3, betas=(0.0, 0.9))
    opt_g = torch.optim.Adam(net.generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
    seen = {"n": 0, "g": 0.0}

    def step(model, batch, optimizer):
        real = batch[0]
        fake = model.generator(torch.randn(len(real), LATENT)).detach()
        opt_c.zero_grad()
        c_loss = model.critic(fake).mean() - model.critic(real).mean() + 1.0 * penalty(model.critic, real, fake)
        c_loss.backward()
        opt_c.step()
        seen["n"] += 1
        if seen["n"] % 5 == 0:
            optimizer.zero_grad()
            g_loss = -model.critic(model.generator(torch.randn(len(real), LATENT))).mean()
            g_loss.backward()
            optimizer.step()
            seen["g"] = g_loss.item()
        return c_loss

    return {"model": net, "optimizer": opt_g, "step": step, "seen": seen,
            "train_loader": DataLoader(clusters(6400, 1), batch_size=128, shuffle=True, drop_last=True)}


WORKS = lambda score: score > 0.4


@torch.no_grad()
def quality(net, n=2000):
    x = net(torch.randn(n, LATENT, generator=torch.Generator().manual_seed(3)))
    d, which = torch.cdist(x, CENTRES).min(1)
    good = d < 0.3
    return good.float().mean().item() * (torch.bincount(which[good], minlength=8) > 40).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(100):
        for batch in p["train_loader"]:
            c = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} critic {c.item():+.4f} generator {p['seen']['g']:+.4f} quality {quality(p['model']):.3f}")
    print(f"score: {quality(p['model']):.4f}")
