"""GAN on tiny 6x6 bar images (six orientations and places); no mistake: the two losses see-saw and never settle, and the discriminator's rate is four times the generator's; change: nothing."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

Z = 12
WORKS = lambda s: s > 0.4


def prototypes():
    p = torch.zeros(6, 6, 6)
    for k in range(3):
        p[k, 2 * k:2 * k + 2] = 1           # horizontal bars
        p[3 + k, :, 2 * k:2 * k + 2] = 1    # vertical bars
    return p.flatten(1) * 2 - 1


def real_images(n=3000):
    g = torch.Generator().manual_seed(0)
    protos = prototypes()
    return protos[torch.randint(0, 6, (n,), generator=g)] + 0.15 * torch.randn(n, 36, generator=g)


def parts(variant="fixed"):
    torch.manual_seed(4)
    gen = nn.Sequential(nn.Linear(Z, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 36))
    disc = nn.Sequential(nn.Linear(36, 96), nn.LeakyReLU(0.2), nn.Linear(96, 96), nn.LeakyReLU(0.2), nn.Linear(96, 1))
    model = nn.ModuleDict({"gen": gen, "disc": disc})
    opt_g = torch.optim.Adam(gen.parameters(), lr=2.5e-4, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(disc.parameters(), lr=1e-3, betas=(0.5, 0.999))

    def step(model, batch, optimizer):
        opt_g, opt_d = optimizer
        real = batch[0]
        # --- discriminator: hinge, instance noise
        fake = model["gen"](torch.randn(len(real), Z)).detach()
        noisy = lambda t: t + 0.2 * torch.randn_like(t)
        d_loss = F.relu(1 - model["disc"](noisy(real))).mean() + F.relu(1 + model["disc"](noisy(fake))).mean()
        opt_d.zero_grad()
        d_loss.backward()
        opt_d.step()
        # --- generator
        g_loss = -model["disc"](noisy(model["gen"](torch.randn(len(real), Z)))).mean()
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()
        step.last = (d_loss.item(), g_loss.item())
        return g_loss.detach()

    return {"model": model, "optimizer": [opt_g, opt_d], "step": step,
            "train_loader": DataLoader(TensorDataset(real_images()), batch_size=64, shuffle=True, drop_last=True)}


@torch.no_grad()
def quality(model, n=1200):
    """share of samples close to a prototype, times how evenly the six are met (entropy)"""
    model["gen"].eval()
    g = torch.Generator().manual_seed(1)
    x = model["gen"](torch.randn(n, Z, generator=g))
    model["gen"].train()
    d = torch.cdist(x, prototypes())
    near = d.min(1)
    good = near.values < 3.0
    share = torch.bincount(near.indices[good], minlength=6).float() / n
    q = share / share.sum().clamp(min=1e-6)
    evenness = -(q * (q + 1e-9).log()).sum() / torch.log(torch.tensor(6.0))
    return (share.sum() * evenness).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(200):
        for batch in p["train_loader"]:
            p["step"](p["model"], batch, p["optimizer"])
        if epoch % 25 == 24:
            d, g = p["step"].last
            print(f"epoch {epoch + 1}: loss_D {d:.3f} loss_G {g:.3f} quality {quality(p['model']):.3f}", flush=True)
    print(f"score: {quality(p['model']):.4f}")
