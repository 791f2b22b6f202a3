"""Ordinary non-saturating GAN on length and width of pine cones of two species. Sound: discriminator step with detached fakes, generator step through the discriminator, Adam with beta1 0.5, rates decayed; the score is the sliced Wasserstein distance to fresh cones."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NOISE = 8
STEPS = 1600


def cones(n, rng):
    kind = rng.random(n) < 0.55
    length = np.where(kind, rng.normal(5.5, 0.7, n), rng.normal(10.5, 1.2, n))
    width = np.where(kind, 0.55 * length, 0.28 * length) + rng.normal(0, 0.2, n)
    return np.stack([length, width], 1).astype(np.float32)


class ConeGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.gen = nn.Sequential(nn.Linear(NOISE, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.disc = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, z):
        return self.gen(z)


bce = nn.BCEWithLogitsLoss()


def sliced_distance(a, b, n_dirs=60):
    g = torch.Generator().manual_seed(7)
    d = torch.randn(a.shape[1], n_dirs, generator=g)
    d = d / d.norm(dim=0)
    return ((a @ d).sort(0).values - (b @ d).sort(0).values).abs().mean().item()


def data():
    rng = np.random.default_rng(1)
    train, test = cones(6400, rng), cones(2000, rng)
    m, s = train.mean(0), train.std(0)
    return torch.from_numpy((train - m) / s), torch.from_numpy((test - m) / s)


def parts(variant):
    torch.manual_seed(1)
    model = ConeGAN()
    opt_d = torch.optim.Adam(model.disc.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_g = torch.optim.Adam(model.gen.parameters(), lr=5e-4, betas=(0.5, 0.999))
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda i: max(0.02, 1 - i / STEPS)) for o in (opt_d, opt_g)]

    def step(model, batch, optimizers):
        opt_d, opt_g = optimizers
        real = batch[0]
        n = len(real)
        ones, zeros = torch.ones(n, 1), torch.zeros(n, 1)
        opt_d.zero_grad()
        fake = model.gen(torch.randn(n, NOISE))
        d_loss = bce(model.disc(real), ones) + bce(model.disc(fake.detach()), zeros)
        d_loss.backward()
        opt_d.step()

        opt_g.zero_grad()
        g_loss = bce(model.disc(model.gen(torch.randn(n, NOISE))), ones)
        g_loss.backward()
        opt_g.step()
        for s in schedules:
            s.step()
        return g_loss

    return {"model": model, "optimizer": (opt_d, opt_g), "step": step,
            "train_loader": DataLoader(TensorDataset(data()[0]), batch_size=128, shuffle=True, drop_last=True)}


WORKS = lambda score: score < 0.2

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, test = p["model"], data()[1]
    done = 0
    while done < STEPS:
        for batch in p["train_loader"]:
            g_loss = p["step"](model, batch, p["optimizer"])
            done += 1
            if done % 400 == 0:
                with torch.no_grad():
                    dist = sliced_distance(model.gen(torch.randn(2000, NOISE)), test)
                print(f"{done}: g loss {g_loss.item():.3f}  distance {dist:.3f}")
            if done == STEPS:
                break
    print("score:", dist)
