"""WGAN-GP on a table of grain sizes and depths (5 columns); the gradient penalty is subtracted from the critic's loss ("bad"); change: add it."""
import sys
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

LATENT, N_CRITIC, LAMBDA = 10, 3, 1.0


def make_table(n, gen):
    depth = torch.rand(n, generator=gen) * 2 - 1
    e = torch.randn(n, 4, generator=gen)
    cols = [depth, 0.8 * depth + 0.3 * e[:, 0], depth ** 2 + 0.2 * e[:, 1], -0.6 * depth + 0.4 * e[:, 2], 0.7 * e[:, 3] + 0.5]
    return 3.0 * torch.stack(cols, 1)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(LATENT, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))

    def forward(self, z):
        return self.net(z)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


def gradient_penalty(critic, real, fake):
    a = torch.rand(real.size(0), 1)
    mid = (a * real + (1 - a) * fake).requires_grad_(True)
    grad, = torch.autograd.grad(critic(mid).sum(), mid, create_graph=True)
    return ((grad.norm(2, dim=1) - 1) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    data = make_table(3000, torch.Generator().manual_seed(11))
    val = make_table(600, torch.Generator().manual_seed(12))
    G, C = Generator(), Critic()
    model = nn.ModuleList([G, C])
    opts = [optim.Adam(G.parameters(), 1e-3, betas=(0.0, 0.9)), optim.Adam(C.parameters(), 1e-3, betas=(0.0, 0.9))]

    def step(model, batch, optimizer):
        G, C = model
        opt_G, opt_C = optimizer
        real = batch[0]
        for _ in range(N_CRITIC):
            fake = G(torch.randn(len(real), LATENT)).detach()
            gp = gradient_penalty(C, real, fake)
            w = C(fake).mean() - C(real).mean()
            loss_C = w - LAMBDA * gp if variant == "bad" else w + LAMBDA * gp
            opt_C.zero_grad()
            loss_C.backward()
            opt_C.step()
        loss_G = -C(G(torch.randn(len(real), LATENT))).mean()
        opt_G.zero_grad()
        loss_G.backward()
        opt_G.step()
        return loss_C

    return {"model": model, "optimizer": opts, "step": step,
            "train_loader": DataLoader(TensorDataset(data), batch_size=100, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(val), batch_size=100)}


# mean distance of the column quantiles (5 % ... 95 %)
WORKS = lambda score: score < 0.4

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(60):
        s = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print("epoch", epoch, "critic loss", sum(s) / len(s))
    q = torch.linspace(0.05, 0.95, 19)
    real = torch.cat([b for b, in p["val_loader"]])
    with torch.no_grad():
        fake = p["model"][0](torch.randn(2000, LATENT))
    d = (torch.quantile(real, q, dim=0) - torch.quantile(fake, q, dim=0)).abs().mean().item()
    score = d if d == d else float("inf")
    print(f"score: {score:.4f}")
