"""WGAN with gradient penalty that draws spin rate and sink speed of falling sycamore seeds (a bent band of points). The gradient for the penalty is taken without create_graph, so the penalty is a number in the loss that has no gradient, the critic gets ever steeper and the generator never settles; the right change: create_graph=True in torch.autograd.grad."""
import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
LAMBDA, CRITIC_STEPS = 2.0, 2


def drop_seeds(n, seed):
    rng = np.random.default_rng(seed)
    wing = rng.beta(2, 2, n)
    spin = 14 - 9 * wing + 0.35 * rng.normal(size=n)
    sink = 0.8 + 1.1 * (wing - 0.45) ** 2 * 4 + 0.05 * rng.normal(size=n)
    xy = np.stack([(spin - 9.5) / 2.3, (sink - 1.05) / 0.27], 1)
    return torch.tensor(xy, dtype=torch.float32)


def mlp(inp, out):
    return nn.Sequential(nn.Linear(inp, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, out))


class SeedWGAN(nn.Module):
    def __init__(self, z=4):
        super().__init__()
        self.z = z
        self.generator = mlp(z, 2)
        self.critic = mlp(2, 1)

    def draw(self, n):
        return self.generator(torch.randn(n, self.z))


class WGANStep:
    def __init__(self, **grad_args):
        self.grad_args = grad_args
        self.count = 0

    def penalty(self, critic, real, fake):
        a = torch.rand(len(real), 1)
        mix = (a * real + (1 - a) * fake).requires_grad_(True)
        scores = critic(mix)
        grad, = torch.autograd.grad(scores.sum(), mix, **self.grad_args)
        return ((grad.norm(2, dim=1) - 1) ** 2).mean()

    def __call__(self, model, batch, optimizer):
        opt_g, opt_c = optimizer
        real = batch[0]
        fake = model.draw(len(real)).detach()
        c_loss = model.critic(fake).mean() - model.critic(real).mean() + LAMBDA * self.penalty(model.critic, real, fake)
        opt_c.zero_grad()
        c_loss.backward()
        opt_c.step()
        self.count += 1
        if self.count % CRITIC_STEPS == 0:
            g_loss = -model.critic(model.draw(len(real))).mean()
            opt_g.zero_grad()
            g_loss.backward()
            opt_g.step()
        return c_loss.detach()


def parts(variant, seed=0):
    torch.manual_seed(seed)
    model = SeedWGAN()
    step = WGANStep() if variant == "bad" else WGANStep(create_graph=True)
    return {
        "model": model,
        "optimizer": (torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.0, 0.9)),
                      torch.optim.Adam(model.critic.parameters(), lr=1e-3, betas=(0.0, 0.9))),
        "train_loader": DataLoader(TensorDataset(drop_seeds(2560, 0)), batch_size=128, shuffle=True, drop_last=True),
        "step": step,
    }


def sliced_distance(a, b, seed=7):
    directions = torch.randn(2, 40, generator=torch.Generator().manual_seed(seed))
    directions = directions / directions.norm(dim=0)
    pa, pb = (a @ directions).sort(0).values, (b @ directions).sort(0).values
    return (pa - pb).abs().mean().item()


WORKS = lambda score: score < 0.25

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="bad")
    ap.add_argument("seed", nargs="?", type=int, default=0)
    args = ap.parse_args()
    p = parts(args.variant, args.seed)
    held_out = drop_seeds(1500, 1)
    late = []
    for epoch in range(70):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 5 == 4:
            with torch.no_grad():
                d = sliced_distance(p["model"].draw(1500), held_out)
            late = (late + [d])[-5:]
            print(f"epoch {epoch + 1}: critic loss {loss.item():.3f} distance {d:.3f}")
    print("score:", float(np.mean(late)))
