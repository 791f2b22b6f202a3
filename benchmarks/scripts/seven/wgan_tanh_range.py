"""WGAN-GP on a ring of eight Gaussians of radius 4; the generator ends in Tanh while the real points keep their own units, so it cannot reach them; change: `fixed` scales the real points into [-1, 1]."""
import argparse
import math
import torch
import torch.nn as nn

LAMBDA = 1.0
UNIT = 5.0                                 # the plane's half width
N_CRITIC = 5
WORKS = lambda score: score < 0.15         # energy distance between generated and real points, in their own units


def ring(n):
    k = torch.randint(0, 8, (n,)).float()
    centers = torch.stack([torch.cos(k * math.pi / 4), torch.sin(k * math.pi / 4)], 1) * 4
    return centers + 0.2 * torch.randn(n, 2)


def mlp(i, o, h=128):
    return nn.Sequential(nn.Linear(i, h), nn.LeakyReLU(0.2), nn.Linear(h, h), nn.LeakyReLU(0.2), nn.Linear(h, o))


def gradient_penalty(critic, real, fake):
    eps = torch.rand(real.size(0), 1)
    inter = (eps * real + (1 - eps) * fake).requires_grad_(True)
    scores = critic(inter)
    grads = torch.autograd.grad(scores.sum(), inter, create_graph=True)[0]
    return ((grads.norm(2, dim=1) - 1) ** 2).mean()


def parts(variant):
    torch.manual_seed(1)
    gan = nn.ModuleDict({"G": nn.Sequential(mlp(8, 2), nn.Tanh()), "D": mlp(2, 1)})
    unit = 1.0 if variant == "bad" else UNIT
    opt_g = torch.optim.Adam(gan["G"].parameters(), lr=5e-4, betas=(0.0, 0.9))
    opt_d = torch.optim.Adam(gan["D"].parameters(), lr=5e-4, betas=(0.0, 0.9))
    # one batch = the real points of N_CRITIC critic updates and one generator update
    loader = torch.utils.data.DataLoader(ring(128 * N_CRITIC * 100) / unit, batch_size=128 * N_CRITIC, shuffle=True)

    def step(model, batch, optimizers):
        og, od = optimizers
        G, D = model["G"], model["D"]
        for real in batch.chunk(N_CRITIC):
            fake = G(torch.randn(real.size(0), 8)).detach()
            gp = gradient_penalty(D, real, fake)
            loss_d = D(fake).mean() - D(real).mean() + LAMBDA * gp
            od.zero_grad()
            loss_d.backward()
            od.step()
        loss_g = -D(G(torch.randn(128, 8))).mean()
        og.zero_grad()
        loss_g.backward()
        og.step()
        step.log = (loss_d.item(), loss_g.item(), gp.item())
        return loss_d.detach()

    return dict(model=gan, optimizer=[opt_g, opt_d], train_loader=loader, step=step,
                sample=lambda n: gan["G"](torch.randn(n, 8)) * unit)


@torch.no_grad()
def energy_distance(a, b):
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=10)
    args = ap.parse_args()
    p = parts(args.variant)
    gan = p["model"]
    for epoch in range(args.epochs):
        for batch in p["train_loader"]:
            p["step"](gan, batch, p["optimizer"])
        d, g, gp = p["step"].log
        with torch.no_grad():
            dist = energy_distance(p["sample"](1000), ring(1000))
        print(f"epoch {epoch + 1:2d}  D {d:9.3f}  G {g:9.3f}  gp {gp:9.3f}  distance {dist:.4f}")
    torch.manual_seed(99)
    with torch.no_grad():
        print("score:", round(energy_distance(p["sample"](3000), ring(3000)), 4))
