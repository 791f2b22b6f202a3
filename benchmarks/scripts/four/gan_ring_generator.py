"""GAN for points on a ring; the generator's loss goes through the detached fakes of the discriminator's step; change: through the fakes themselves."""
import math
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

NOISE = 8


class GAN(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(NOISE, h), nn.LeakyReLU(0.2), nn.Linear(h, h), nn.LeakyReLU(0.2), nn.Linear(h, 2))
        self.D = nn.Sequential(nn.Linear(2, h), nn.LeakyReLU(0.2), nn.Linear(h, h), nn.LeakyReLU(0.2), nn.Linear(h, 1))

    def forward(self, z):
        return self.G(z)


def ring(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = 2 * math.pi * torch.rand(n, generator=g)
    r = 2 + 0.1 * torch.randn(n, generator=g)
    return TensorDataset(torch.stack([r * a.cos(), r * a.sin()], 1))


def parts(variant):
    torch.manual_seed(0)
    gan = GAN()
    opt_g = torch.optim.Adam(gan.G.parameters(), lr=5e-4, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(gan.D.parameters(), lr=5e-4, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    history = {}

    def step(model, batch, optimizer):
        real = batch[0]
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = model.G(torch.randn(len(real), NOISE))
        opt_d.zero_grad()
        d_loss = bce(model.D(real), ones) + bce(model.D(fake.detach()), zeros)
        d_loss.backward()
        opt_d.step()

        optimizer.zero_grad()
        if variant == "bad":
            verdict = model.D(fake.detach())
        else:
            verdict = model.D(fake)
        g_loss = bce(verdict, ones)
        g_loss.backward()
        optimizer.step()
        history["d"] = d_loss.item()
        return g_loss

    return {"model": gan, "optimizer": opt_g, "step": step, "history": history,
            "train_loader": DataLoader(ring(4096, 1), batch_size=128, shuffle=True, drop_last=True)}


WORKS = lambda score: score > 0.5


@torch.no_grad()
def on_ring(gan):
    x = gan.G(torch.randn(2000, NOISE, generator=torch.Generator().manual_seed(9)))
    r = x.norm(dim=1)
    near = ((r > 1.6) & (r < 2.4)).float().mean().item()
    sectors = torch.atan2(x[:, 1], x[:, 0]).add(math.pi).div(2 * math.pi / 8).long().clamp(0, 7)
    covered = (torch.bincount(sectors, minlength=8) > 40).float().mean().item()
    return near * covered


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(100):
        for batch in p["train_loader"]:
            g = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 10 == 9:
            print(f"Epoch {epoch + 1:3d} Loss_D {p['history']['d']:.4f} Loss_G {g.item():.4f} on ring {on_ring(p['model']):.3f}")
    print(f"score: {on_ring(p['model']):.4f}")
