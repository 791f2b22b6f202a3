"""Kind of a set of points (ring, disc, two clumps, cross) by Deep Sets, AdamW, steps on sampled batches; the MLP helper leaves out the activation "after the last layer" one layer too early, so with two layers there is none at all and the mean over the points sees their centre only; change: the bound."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

POINTS = 40


def sets(n, seed):
    """All kinds have their centre at about zero and the same spread; turned at random, noise on every point."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    u, v = torch.rand(n, POINTS, generator=g), torch.rand(n, POINTS, generator=g)
    phi = 2 * math.pi * u
    disc = v.sqrt()[..., None] * torch.stack([phi.cos(), phi.sin()], -1)
    ring = torch.stack([phi.cos(), phi.sin()], -1)
    side = (u > 0.5).float() * 2 - 1
    clumps = torch.stack([side, torch.zeros_like(side)], -1) + 0.25 * torch.randn(n, POINTS, 2, generator=g)
    arm, r = (u > 0.5).float(), 2 * v - 1
    cross = torch.stack([arm * r, (1 - arm) * r], -1)
    kinds = torch.stack([k / k.std((1, 2), keepdim=True) for k in (ring, disc, clumps, cross)], 1)
    x = kinds[torch.arange(n), y]
    turn = 2 * math.pi * torch.rand(n, generator=g)
    rot = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], -1).view(n, 2, 2)
    return x @ rot + 0.05 * torch.randn(n, POINTS, 2, generator=g), y


def mlp(sizes, last_activation_at):
    layers = []
    for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:])):
        layers.append(nn.Linear(a, b))
        if i < last_activation_at(sizes):
            layers.append(nn.ELU())
    return nn.Sequential(*layers)


class DeepSets(nn.Module):
    def __init__(self, last_activation_at):
        super().__init__()
        self.phi = mlp([2, 64, 64], last_activation_at)
        self.rho = mlp([64, 64, 4], last_activation_at)

    def forward(self, points):
        return self.rho(self.phi(points).mean(1))


def parts(variant):
    torch.manual_seed(0)
    if variant == "bad":
        model = DeepSets(lambda sizes: len(sizes) - 3)
    else:
        model = DeepSets(lambda sizes: len(sizes) - 2)
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=5e-3),
        "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
        "train_loader": DataLoader(TensorDataset(*sets(3000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*sets(600, 2)), batch_size=200),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


def forever(loader):
    while True:
        yield from loader


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    model.train()
    return right / len(loader.dataset)


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    batches = forever(p["train_loader"])
    for step in range(1, 701):
        points, kind = next(batches)
        loss = criterion(model(points), kind)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
