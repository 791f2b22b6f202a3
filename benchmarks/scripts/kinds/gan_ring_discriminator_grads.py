"""GAN on a ring of eight Gaussians: the discriminator's gradients are never cleared, so those of the generator's backward and all earlier ones pile up in it; change: `fixed` clears them before its backward."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

Z, EPOCHS = 8, 60
WORKS = lambda score: score > 0.6


def ring(n, seed):
    g = torch.Generator().manual_seed(seed)
    k = torch.randint(0, 8, (n,), generator=g) * math.pi / 4
    return torch.stack([k.cos(), k.sin()], 1) * 2 + 0.1 * torch.randn(n, 2, generator=g)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(Z, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))

    def forward(self, z):
        return self.net(z)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))

    def forward(self, x):
        return self.net(x)


def parts(variant):
    torch.manual_seed(0)
    nets = nn.ModuleDict({"gen": Generator(), "disc": Discriminator()})
    opt_g = torch.optim.Adam(nets["gen"].parameters(), lr=1e-3, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(nets["disc"].parameters(), lr=1e-3, betas=(0.5, 0.9))
    bce = nn.BCEWithLogitsLoss()
    loader = DataLoader(TensorDataset(ring(6400, 1)), batch_size=128, shuffle=True, drop_last=True)

    def step(nets, batch, optimizers):
        opt_g, opt_d = optimizers
        (real,) = batch
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = nets["gen"](torch.randn(len(real), Z))

        # discriminator
        if variant == "fixed":
            opt_d.zero_grad()
        d_loss = bce(nets["disc"](real), ones) + bce(nets["disc"](fake.detach()), zeros)
        d_loss.backward()
        opt_d.step()

        # generator
        opt_g.zero_grad()
        g_loss = bce(nets["disc"](fake), ones)
        g_loss.backward()
        opt_g.step()
        return d_loss + g_loss

    return {"model": nets, "optimizer": [opt_g, opt_d], "train_loader": loader, "step": step}


@torch.no_grad()
def quality(gen, n=2000):
    """Share of samples near a mode, times the share of modes that have samples."""
    torch.manual_seed(5)
    a = torch.arange(8) * math.pi / 4
    d = torch.cdist(gen(torch.randn(n, Z)), 2 * torch.stack([a.cos(), a.sin()], 1))
    near, mode = d.min(1)
    good = near < 0.4
    covered = (torch.bincount(mode[good], minlength=8) > n / 80).float().mean()
    return (good.float().mean() * covered).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(EPOCHS):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: d+g {sum(losses) / len(losses):.3f}")
    print("score:", round(quality(p["model"]["gen"]), 4))
