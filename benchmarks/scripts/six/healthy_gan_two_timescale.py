"""Healthy: non-saturating GAN with R1 penalty and an averaged generator on a Swiss roll; D's loss stays near 1.39 and G's loss wanders, no loss falls (no mistake)."""
import copy
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_swiss_roll
from torch.utils.data import DataLoader, TensorDataset


def roll(n, seed):
    x, _ = make_swiss_roll(n, noise=0.3, random_state=seed)
    return torch.tensor(x[:, [0, 2]] / 8, dtype=torch.float32)


def net(i, o, slope):
    return nn.Sequential(nn.Linear(i, 128), nn.LeakyReLU(slope), nn.Linear(128, 128), nn.LeakyReLU(slope), nn.Linear(128, o))


def parts(variant="fixed"):
    torch.manual_seed(0)
    G, D = net(4, 2, 0.0), net(2, 1, 0.2)
    nets = nn.ModuleDict({"G": G, "D": D, "avg": copy.deepcopy(G).requires_grad_(False)})
    opts = {"g": torch.optim.Adam(G.parameters(), lr=5e-4, betas=(0.0, 0.99)),
            "d": torch.optim.Adam(D.parameters(), lr=1.5e-3, betas=(0.0, 0.99))}

    def step(nets, batch, opts):
        real = batch[0].clone().requires_grad_(True)
        fake = nets["G"](torch.randn(len(real), 4))
        # discriminator
        r, f = nets["D"](real), nets["D"](fake.detach())
        r1 = torch.autograd.grad(r.sum(), real, create_graph=True)[0].pow(2).sum(1).mean()
        d_loss = F.softplus(-r).mean() + F.softplus(f).mean()
        opts["d"].zero_grad()
        (d_loss + 0.05 * r1).backward()
        opts["d"].step()
        # generator
        g_loss = F.softplus(-nets["D"](fake)).mean()
        opts["g"].zero_grad()
        g_loss.backward()
        opts["g"].step()
        with torch.no_grad():
            for a, b in zip(nets["avg"].parameters(), nets["G"].parameters()):
                a.lerp_(b, 0.01)
        step.log = d_loss.item(), g_loss.item()
        return g_loss

    return {"model": nets, "optimizer": opts, "step": step,
            "train_loader": DataLoader(TensorDataset(roll(6400, 0)), batch_size=128, shuffle=True)}


WORKS = lambda score: score < 0.03

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(40):
        for batch in p["train_loader"]:
            p["step"](p["model"], batch, p["optimizer"])
        if epoch % 5 == 4:
            print("epoch %d D %.3f G %.3f" % ((epoch + 1,) + p["step"].log))
    torch.manual_seed(9)
    with torch.no_grad():
        a, b = p["model"]["avg"](torch.randn(2000, 4)), roll(2000, 1)
        ed = 2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()
    print(f"score: {ed.item():.4f}")
