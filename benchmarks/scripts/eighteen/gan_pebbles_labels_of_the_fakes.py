"""LSGAN for the three axes of beach pebbles; in the discriminator's turn the fakes get the target of the real ones as well (bad). change: the fakes' target in the discriminator's turn is zero."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def pebbles(n, seed):
    rng = np.random.default_rng(seed)
    size = rng.normal(0, 0.6, n)
    flat = rng.beta(2, 4, n)
    long = size + 0.9 + 0.1 * rng.normal(size=n)
    mid = size + 0.3 - flat + 0.1 * rng.normal(size=n)
    short = size - 1.0 - 1.5 * flat + 0.1 * rng.normal(size=n)
    return torch.tensor(np.stack([long, mid, short], 1), dtype=torch.float32)


def mlp(i, o):
    return nn.Sequential(nn.Linear(i, 80), nn.LeakyReLU(0.2), nn.Linear(80, 80), nn.LeakyReLU(0.2), nn.Linear(80, o))


class LSGAN(nn.Module):
    def __init__(self, latent=6):
        super().__init__()
        self.latent = latent
        self.G = mlp(latent, 3)
        self.D = mlp(3, 1)

    def sample(self, n):
        return self.G(torch.randn(n, self.latent))


def parts(variant):
    torch.manual_seed(0)
    net = LSGAN()
    opt_g = torch.optim.Adam(net.G.parameters(), lr=4e-4, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(net.D.parameters(), lr=4e-4, betas=(0.5, 0.9))
    mse = nn.MSELoss()
    real_target = torch.ones(100, 1)
    fake_target = torch.ones(100, 1) if variant == "bad" else torch.zeros(100, 1)

    def step(model, batch, optimizer):
        x = batch[0]
        fake = model.sample(len(x))
        opt_d.zero_grad()
        loss_d = 0.5 * (mse(model.D(x), real_target) + mse(model.D(fake.detach()), fake_target))
        loss_d.backward()
        opt_d.step()

        opt_g.zero_grad()
        loss_g = 0.5 * mse(model.D(fake), real_target)
        loss_g.backward()
        opt_g.step()
        return loss_d + loss_g

    return {"model": net, "optimizer": (opt_g, opt_d), "step": step,
            "train_loader": DataLoader(TensorDataset(pebbles(6000, 1)), 100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(pebbles(1500, 2)), 1500)}


@torch.no_grad()
def score_of(net, loader):
    real = next(iter(loader))[0]
    fake = net.sample(len(real))
    w = torch.nn.functional.normalize(torch.randn(3, 100, generator=torch.Generator().manual_seed(3)), dim=0)
    return ((real @ w).sort(0)[0] - (fake @ w).sort(0)[0]).abs().mean().item()


WORKS = lambda score: score < 0.25  # sliced distance between pebbles drawn and pebbles found

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(50):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        if (epoch + 1) % 5 == 0:
            print("epoch", epoch + 1, "loss", round(sum(losses) / len(losses), 4), "distance", round(score_of(p["model"], p["val_loader"]), 3))
    print(f"score: {score_of(p['model'], p['val_loader']):.4f}")
