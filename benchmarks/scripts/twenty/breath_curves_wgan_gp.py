"""A Wasserstein GAN with gradient penalty makes short breath curves (24 samples of chest movement). Mistake: the penalty is computed for every critic step but the critic's loss is only fake minus real, so nothing bounds the critic. change: the penalty is added to the critic's loss."""
import math
import sys

import torch
from torch import autograd, nn, optim
from torch.utils.data import DataLoader, TensorDataset

SAMPLES, LATENT = 24, 8


def breath_curves(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, SAMPLES)
    depth = 0.6 + 0.4 * torch.rand(n, 1, generator=g)
    phase = 0.25 * torch.rand(n, 1, generator=g)
    lift = 0.2 * torch.randn(n, 1, generator=g)
    curve = depth * torch.sin(2 * math.pi * (t - phase)) + lift
    return curve + 0.02 * torch.randn(n, SAMPLES, generator=g)


class BreathGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.netG = nn.Sequential(nn.Linear(LATENT, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, SAMPLES))
        self.netD = nn.Sequential(nn.Linear(SAMPLES, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2),
                                  nn.Linear(64, 1))

    def forward(self, noise):
        return self.netG(noise)


def gradient_penalty(netD, real, fake, weight=10.0):
    mix = torch.rand(len(real), 1)
    between = (mix * real + (1 - mix) * fake).requires_grad_(True)
    grads = autograd.grad(netD(between).sum(), between, create_graph=True)[0]
    return weight * ((grads.norm(2, dim=1) - 1) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    model = BreathGAN()
    optimizerG = optim.Adam(model.netG.parameters(), lr=5e-4, betas=(0.5, 0.9))
    optimizerD = optim.Adam(model.netD.parameters(), lr=5e-4, betas=(0.5, 0.9))
    seen = [0]

    def step(model, batch, optimizer):
        (real,) = batch
        netG, netD = model.netG, model.netD
        fake = netG(torch.randn(len(real), LATENT)).detach()
        penalty = gradient_penalty(netD, real, fake)
        loss_D = netD(fake).mean() - netD(real).mean()
        if variant != "bad":
            loss_D = loss_D + penalty
        optimizerD.zero_grad()
        loss_D.backward()
        optimizerD.step()
        seen[0] += 1
        if seen[0] % 3 == 0:
            optimizer.zero_grad()
            loss_G = -netD(netG(torch.randn(len(real), LATENT))).mean()
            loss_G.backward()
            optimizer.step()
        return loss_D.detach()

    return {"model": model, "optimizer": optimizerG, "step": step,
            "train_loader": DataLoader(TensorDataset(breath_curves(6400, 1)), batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(breath_curves(800, 2)), batch_size=800)}


WORKS = lambda score: score < 0.25

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    (held_out,) = next(iter(p["val_loader"]))
    for epoch in range(30):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: critic loss {sum(losses) / len(losses):.4f}")
    with torch.no_grad():
        made = p["model"](torch.randn(800, LATENT))
    d = lambda a, b: torch.cdist(a, b).mean().item()
    score = 2 * d(made, held_out) - d(made, made) - d(held_out, held_out)
    print(f"score: {score:.4f}")
