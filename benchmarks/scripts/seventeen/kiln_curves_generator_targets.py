"""GAN for firing curves of a kiln (series of 24 temperatures); the generator's loss compares D(fake) with the zeros of fakes ("bad"); change: compare it with ones."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

Z = 8


class KilnGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(Z, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24))
        self.D = nn.Sequential(nn.Linear(24, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


def curves(n, seed):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 24)
    peak = rng.normal(0.55, 0.06, (n, 1))
    height = rng.normal(1.6, 0.2, (n, 1))
    c = height * np.exp(-((t - peak) / 0.25) ** 2) - 0.5 + rng.normal(0, 0.03, (n, 24))
    return torch.tensor(c, dtype=torch.float32)


def parts(variant):
    torch.manual_seed(0)
    gan = KilnGAN()
    opt = {"g": torch.optim.Adam(gan.G.parameters(), lr=5e-4, betas=(0.5, 0.999)),
           "d": torch.optim.Adam(gan.D.parameters(), lr=5e-4, betas=(0.5, 0.999))}
    bce = nn.BCEWithLogitsLoss()

    def step(model, batch, optimizer):
        real = batch[0]
        n = len(real)
        ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)

        fake = model.G(torch.randn(n, Z))
        optimizer["d"].zero_grad()
        d_loss = bce(model.D(real), ones) + bce(model.D(fake.detach()), zeros)
        d_loss.backward()
        optimizer["d"].step()

        optimizer["g"].zero_grad()
        g_loss = bce(model.D(fake), zeros if variant == "bad" else ones)
        g_loss.backward()
        optimizer["g"].step()
        step.last = (d_loss.item(), g_loss.item())
        return d_loss.detach() + g_loss.detach()

    x, xv = curves(2000, 1), curves(500, 2)
    return {"model": gan, "optimizer": opt, "step": step,
            "train_loader": DataLoader(TensorDataset(x), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(xv), batch_size=64)}


# mean absolute difference of the hourly means between generated and real curves
WORKS = lambda score: score < 0.2

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(50):
        losses = []
        for batch in p["train_loader"]:
            p["step"](p["model"], batch, p["optimizer"])
            losses.append(p["step"].last)
        d, g = np.mean(losses, 0)
        print(f"epoch {epoch}: D {d:.3f}  G {g:.3f}")
    real = torch.cat([b[0] for b in p["val_loader"]])
    with torch.no_grad():
        fake = p["model"].G(torch.randn(2000, Z))
    score = (real.mean(0) - fake.mean(0)).abs().mean().item()
    print(f"score: {score:.4f}")
