"""Vanilla GAN of asteroid orbits (two columns), data in units where they lie far from the generator's start; the generator minimises log(1 - D), which is flat once D is sure ("bad"); change: minimise -log D."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def orbits(n, seed):
    rng = np.random.default_rng(seed)
    axis = rng.normal(6.0, 0.6, n)
    ecc = 4.0 + 0.5 * (axis - 6.0) + rng.normal(0, 0.4, n)
    return torch.tensor(np.stack([axis, ecc], 1), dtype=torch.float32)


class Net(nn.Module):
    def __init__(self, sizes, last=None):
        super().__init__()
        layers = []
        for a, b in zip(sizes[:-1], sizes[1:]):
            layers += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers[:-1], *([last] if last else []))

    def forward(self, x):
        return self.layers(x)


def parts(variant):
    torch.manual_seed(0)
    gan = nn.ModuleDict({"g": Net([8, 64, 64, 2]), "d": Net([2, 64, 64, 1], nn.Sigmoid())})
    optim_d = torch.optim.Adam(gan["d"].parameters(), lr=5e-4, betas=(0.5, 0.999))
    optim_g = torch.optim.SGD(gan["g"].parameters(), lr=0.05)
    eps = 1e-7

    def step(model, batch, optimizer):
        x = batch[0]
        for _ in range(3):
            fake = model["g"](torch.randn(len(x), 8)).detach()
            loss_d = -(torch.log(model["d"](x) + eps) + torch.log(1 - model["d"](fake) + eps)).mean()
            optim_d.zero_grad()
            loss_d.backward()
            optim_d.step()
        verdict = model["d"](model["g"](torch.randn(len(x), 8)))
        loss_g = torch.log(1 - verdict + eps).mean() if variant == "bad" else -torch.log(verdict + eps).mean()
        optimizer.zero_grad()
        loss_g.backward()
        optimizer.step()
        return loss_d.detach()

    return {"model": gan, "optimizer": optim_g, "step": step,
            "train_loader": DataLoader(TensorDataset(orbits(2000, 1)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(orbits(500, 2)), batch_size=64)}


# distance of means plus distance of standard deviations
WORKS = lambda score: score < 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(60):
        d = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: D loss {np.mean(d):.4f}")
    real = torch.cat([b for b, in p["val_loader"]])
    with torch.no_grad():
        fake = p["model"]["g"](torch.randn(3000, 8))
    score = ((real.mean(0) - fake.mean(0)).norm() + (real.std(0) - fake.std(0)).norm()).item()
    print(f"score: {score:.4f}")
