"""WGAN on a ring of points; the mistake: the fakes are not detached in the critic's loss and the generator's gradients are cleared only at the top, so the critic's loss also pushes the generator (the wrong way); change: `fixed` detaches them."""
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

Z, CLIP, N_CRITIC = 4, 0.1, 4
WORKS = lambda score: score < 0.35


def ring(n):
    a = torch.rand(n) * 2 * math.pi
    r = 2.0 + 0.1 * torch.randn(n)
    return torch.stack([r * a.cos() + 1.0, r * a.sin() - 0.5], dim=1)


def mlp(i, o, h=64):
    return nn.Sequential(nn.Linear(i, h), nn.LeakyReLU(0.2), nn.Linear(h, h), nn.LeakyReLU(0.2), nn.Linear(h, o))


def sliced_distance(a, b, n_dirs=64):
    g = torch.Generator().manual_seed(0)
    d = torch.randn(2, n_dirs, generator=g)
    d = d / d.norm(dim=0)
    return ((a @ d).sort(dim=0).values - (b @ d).sort(dim=0).values).abs().mean().item()


def parts(variant="fixed"):
    torch.manual_seed(5)
    nets = nn.ModuleDict({"G": mlp(Z, 2), "C": mlp(2, 1)})
    opts = {"G": torch.optim.RMSprop(nets["G"].parameters(), lr=5e-4),
            "C": torch.optim.RMSprop(nets["C"].parameters(), lr=5e-4)}

    def step(nets, real, opts):
        G, C = nets["G"], nets["C"]
        opts["G"].zero_grad()
        for chunk in real.chunk(N_CRITIC):
            fake = G(torch.randn(len(chunk), Z))
            if variant == "fixed":
                fake = fake.detach()
            loss_c = C(fake).mean() - C(chunk).mean()
            opts["C"].zero_grad()
            loss_c.backward()
            opts["C"].step()
            with torch.no_grad():
                for w in C.parameters():
                    w.clamp_(-CLIP, CLIP)
        loss_g = -C(G(torch.randn(64, Z))).mean()
        loss_g.backward()
        opts["G"].step()
        return loss_g

    data = ring(16384)
    return {"model": nets, "optimizer": opts, "step": step,
            "train_loader": DataLoader(data, batch_size=64 * N_CRITIC, shuffle=True, drop_last=True)}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    nets = p["model"]
    for epoch in range(25):
        for real in p["train_loader"]:
            loss = p["step"](nets, real, p["optimizer"])
        if epoch % 4 == 0:
            with torch.no_grad():
                print(f"epoch {epoch}: loss_G {loss.item():+.3f}  mean {nets['G'](torch.randn(500, Z)).mean(0).tolist()}")
    torch.manual_seed(99)
    with torch.no_grad():
        score = sliced_distance(nets["G"](torch.randn(2000, Z)), ring(2000))
    print(f"score: {score:.4f}")
