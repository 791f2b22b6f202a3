"""Hinge GAN on pairs (tide level, flow) that lie in four clumps; the discriminator's hinge on fakes has the sign of the one on reals, relu(1 - D(fake)) ("bad"); change: relu(1 + D(fake))."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CENTRES = torch.tensor([[1.5, 0.0], [-1.5, 0.0], [0.0, 1.5], [0.0, -1.5]])


def mlp(i, o, act):
    return nn.Sequential(nn.Linear(i, 96), act, nn.Linear(96, 96), act, nn.Linear(96, o))


def sample(n):
    return CENTRES[torch.randint(4, (n,))] + 0.15 * torch.randn(n, 2)


def parts(variant):
    torch.manual_seed(0)
    nets = nn.ModuleDict({"gen": mlp(4, 2, nn.ReLU()), "disc": mlp(2, 1, nn.LeakyReLU(0.2))})
    opt_g = torch.optim.Adam(nets["gen"].parameters(), lr=3e-4, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(nets["disc"].parameters(), lr=1e-3, betas=(0.5, 0.9))

    def step(model, batch, optimizer):
        opt_g, opt_d = optimizer
        x, = batch
        with torch.no_grad():
            x_gen = model["gen"](torch.randn(x.size(0), 4))
        on_real, on_fake = model["disc"](x), model["disc"](x_gen)
        if variant == "bad":
            loss_d = F.relu(1 - on_real).mean() + F.relu(1 - on_fake).mean()
        else:
            loss_d = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean()
        opt_d.zero_grad()
        loss_d.backward()
        opt_d.step()

        loss_g = -model["disc"](model["gen"](torch.randn(x.size(0), 4))).mean()
        opt_g.zero_grad()
        loss_g.backward()
        opt_g.step()
        return loss_d

    return {"model": nets, "optimizer": (opt_g, opt_d), "step": step,
            "train_loader": DataLoader(TensorDataset(sample(4096)), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(sample(512)), batch_size=128)}


# share of generated points near a clump, times the share of clumps that get at least 8 %
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    nets = p["model"]
    for epoch in range(80):
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](nets, batch, p["optimizer"]).item()
        print(f"{epoch:2d} loss_d {total / len(p['train_loader']):.4f}")
    with torch.no_grad():
        pts = nets["gen"](torch.randn(2000, 4))
    dist, which = torch.cdist(pts, CENTRES).min(1)
    near = dist < 0.6
    share = torch.bincount(which[near], minlength=4) / len(pts)
    score = near.float().mean().item() * (share > 0.08).float().mean().item()
    print(f"score: {score:.4f}")
