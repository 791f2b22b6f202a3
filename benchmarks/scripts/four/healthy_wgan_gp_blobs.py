"""Healthy: WGAN with gradient penalty on four blobs; five critic steps to one of the generator, Adam with betas (0, 0.9), losses of either sign."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CENTRES = torch.tensor([[2., 0.], [-2., 0.], [0., 2.], [0., -2.]])


def blobs(n, seed):
    g = torch.Generator().manual_seed(seed)
    return CENTRES[torch.randint(0, 4, (n,), generator=g)] + 0.15 * torch.randn(n, 2, generator=g)


def net(i, o):
    return nn.Sequential(nn.Linear(i, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, o))


class WGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator, self.critic = net(4, 2), net(2, 1)

    def forward(self, z):
        return self.generator(z)


def penalty(critic, real, fake):
    eps = torch.rand(len(real), 1)
    mix = (eps * real + (1 - eps) * fake).requires_grad_(True)
    grad, = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
    return 10 * ((grad.norm(dim=1) - 1) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    model = WGAN()
    opts = (torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.0, 0.9)),
            torch.optim.Adam(model.critic.parameters(), lr=1e-3, betas=(0.0, 0.9)))
    count = {"n": 0}

    def step(model, batch, optimizers):
        real = batch[0]
        opt_g, opt_c = optimizers
        fake = model(torch.randn(len(real), 4)).detach()
        c_loss = model.critic(fake).mean() - model.critic(real).mean() + penalty(model.critic, real, fake)
        opt_c.zero_grad()
        c_loss.backward()
        opt_c.step()
        count["n"] += 1
        if count["n"] % 5 == 0:
            g_loss = -model.critic(model(torch.randn(len(real), 4))).mean()
            opt_g.zero_grad()
            g_loss.backward()
            opt_g.step()
        return c_loss

    return {"model": model, "optimizer": opts, "step": step,
            "train_loader": DataLoader(TensorDataset(blobs(6400, 1)), batch_size=64, shuffle=True)}


WORKS = lambda score: score > 0.5


@torch.no_grad()
def quality(model):
    x = model(torch.randn(2000, 4, generator=torch.Generator().manual_seed(9)))
    dist, which = torch.cdist(x, CENTRES).min(1)
    good = dist < 0.6
    cover = torch.bincount(which[good], minlength=4).float() / 2000
    return min(good.float().mean().item(), 8 * cover.min().item())


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(60):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} critic loss {loss.item():.3f} quality {quality(p['model']):.3f}")
    print(f"score: {quality(p['model']):.4f}")
