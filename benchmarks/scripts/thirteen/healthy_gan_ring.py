"""Sound: a small GAN that learns points on a ring of radius 2; one step updates the discriminator (its own optimizer) and then the generator, the losses hover and do not fall; variant is ignored. change: none."""
import sys
import math
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

LATENT = 4


def ring(n, seed):
    g = torch.Generator().manual_seed(seed)
    angle = torch.rand(n, generator=g) * 2 * math.pi
    radius = 2 + 0.1 * torch.randn(n, generator=g)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    return TensorDataset(points, angle)


class RingGAN(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(LATENT, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.critic = nn.Sequential(nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, z):
        return self.generator(z)


def parts(variant):
    torch.manual_seed(0)
    model = RingGAN()
    g_opt = torch.optim.Adam(model.generator.parameters(), lr=1e-3, betas=(0.5, 0.99))
    d_opt = torch.optim.Adam(model.critic.parameters(), lr=1e-3, betas=(0.5, 0.99))

    def step(model, batch, optimizer):
        real, _ = batch
        z = torch.randn(len(real), LATENT)
        fake = model(z)
        d_opt.zero_grad()
        d_loss = F.softplus(-model.critic(real)).mean() + F.softplus(model.critic(fake.detach())).mean()
        d_loss.backward()
        d_opt.step()

        optimizer.zero_grad()
        g_loss = F.softplus(-model.critic(fake)).mean()
        g_loss.backward()
        optimizer.step()
        return g_loss.detach()

    return {"model": model, "optimizer": g_opt, "step": step,
            "train_loader": DataLoader(ring(4000, 1), batch_size=100, shuffle=True),
            "val_loader": DataLoader(ring(500, 2), batch_size=250)}


WORKS = lambda score: score > 0.7


def ring_score(model, n=2000):
    """Share of samples near the ring, times the share of twelve sectors that get at least a third of their due."""
    model.eval()
    with torch.no_grad():
        pts = model(torch.randn(n, LATENT))
    near = (pts.norm(dim=1) - 2).abs() < 0.4
    sector = ((torch.atan2(pts[:, 1], pts[:, 0]) + math.pi) / (2 * math.pi) * 12).long().clamp(0, 11)
    filled = torch.bincount(sector[near], minlength=12) > n / 36
    return near.float().mean().item() * filled.float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(60):
        p["model"].train()
        g = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 6 == 0:
            print(f"epoch {epoch}: generator loss {sum(g) / len(g):.3f}")
    score = ring_score(p["model"])
    print(f"score: {score:.4f}")
