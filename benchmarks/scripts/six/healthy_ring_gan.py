"""GAN on a noisy ring, healthy: both losses stand at their chance values (2 log 2 and log 2) for most of the run, but the points come out right; no mistake."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

Z = 4
WORKS = lambda distance: distance < 0.15


def ring(n, seed):
    g = torch.Generator().manual_seed(seed)
    phi = torch.rand(n, generator=g) * 2 * np.pi
    r = 1.5 + 0.1 * torch.randn(n, generator=g)
    return torch.stack([r * phi.cos() + 0.8, 0.6 * r * phi.sin()], 1)


def mlp(i, o, act):
    return nn.Sequential(nn.Linear(i, 96), act, nn.Linear(96, 96), act, nn.Linear(96, o))


bce = nn.BCEWithLogitsLoss()
history = {"d": [], "g": []}


def step(nets, batch, optimizer):
    real = batch[0]
    G, D = nets["G"], nets["D"]
    # discriminator (the generator has no gradients here, Adam passes it over)
    optimizer.zero_grad(set_to_none=True)
    D.requires_grad_(True)
    fake = G(torch.randn(len(real), Z)).detach()
    real = real.clone().requires_grad_(True)
    out_real = D(real)
    (grad,) = torch.autograd.grad(out_real.sum(), real, create_graph=True)
    d_loss = bce(out_real, torch.ones(len(real), 1)) + bce(D(fake), torch.zeros(len(real), 1)) \
        + 0.1 * grad.pow(2).sum(1).mean()
    d_loss.backward()
    optimizer.step()
    # generator (and here the discriminator has none)
    optimizer.zero_grad(set_to_none=True)
    D.requires_grad_(False)
    g_loss = bce(D(G(torch.randn(len(real), Z))), torch.ones(len(real), 1))
    g_loss.backward()
    optimizer.step()
    history["d"].append(d_loss.item())
    history["g"].append(g_loss.item())
    return d_loss.detach() + g_loss.detach()


def parts(variant="fixed"):
    torch.manual_seed(6)
    nets = nn.ModuleDict({"G": mlp(Z, 2, nn.ReLU()), "D": mlp(2, 1, nn.LeakyReLU(0.2))})
    return {"model": nets, "step": step,
            "optimizer": torch.optim.Adam([{"params": nets["G"].parameters(), "lr": 5e-4},
                                           {"params": nets["D"].parameters(), "lr": 1e-3}], betas=(0.5, 0.9)),
            "train_loader": DataLoader(TensorDataset(ring(6400, 0)), batch_size=128, shuffle=True, drop_last=True)}


@torch.no_grad()
def sliced_distance(nets, n=3000):
    a, b = nets["G"](torch.randn(n, Z)), ring(n, 5)
    th = torch.linspace(0, np.pi, 60)
    d = torch.stack([th.cos(), th.sin()])
    return ((a @ d).sort(0).values - (b @ d).sort(0).values).abs().mean().item()


if __name__ == "__main__":
    p = parts(*sys.argv[1:2])
    nets, optimizer = p["model"], p["optimizer"]
    for epoch in range(50):
        for batch in p["train_loader"]:
            step(nets, batch, optimizer)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: D {np.mean(history['d'][-50:]):.3f} G {np.mean(history['g'][-50:]):.3f} distance {sliced_distance(nets):.3f}")
    print("score: %.4f" % sliced_distance(nets))
