"""WGAN with weight clipping on a ring of Gaussians; the clipping calls clamp() and drops what it returns, so the critic is never clipped; change: clamp_()."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

NZ, CLIP, N_CRITIC = 8, 0.1, 5


def mlp(i, o, h=64):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, o))


def ring(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.randint(0, 6, (n,), generator=g) * (2 * torch.pi / 6)
    return torch.stack([a.cos(), a.sin()], 1) * 1.5 + 0.1 * torch.randn(n, 2, generator=g)


def parts(variant="fixed"):
    torch.manual_seed(0)
    nets = nn.ModuleDict({"G": mlp(NZ, 2), "D": mlp(2, 1)})
    opt_g = torch.optim.RMSprop(nets["G"].parameters(), lr=5e-4)
    opt_d = torch.optim.RMSprop(nets["D"].parameters(), lr=5e-4)
    state = {"it": 0}

    def step(nets, batch, optimizer):
        opt_g, opt_d = optimizer
        G, D = nets["G"], nets["D"]
        real = batch[0]
        # critic
        opt_d.zero_grad()
        fake = G(torch.randn(len(real), NZ)).detach()
        loss_d = D(fake).mean() - D(real).mean()
        loss_d.backward()
        opt_d.step()
        for p in D.parameters():
            if variant == "bad":
                p.data.clamp(-CLIP, CLIP)
            else:
                p.data.clamp_(-CLIP, CLIP)
        # generator
        state["it"] += 1
        if state["it"] % N_CRITIC == 0:
            opt_g.zero_grad()
            loss_g = -D(G(torch.randn(len(real), NZ))).mean()
            loss_g.backward()
            opt_g.step()
        return loss_d.detach()

    return {
        "model": nets,
        "optimizer": [opt_g, opt_d],
        "train_loader": DataLoader(TensorDataset(ring(12800, 0)), batch_size=128, shuffle=True, drop_last=True),
        "step": step,
    }


@torch.no_grad()
def energy_distance(G, n=2000):
    torch.manual_seed(3)
    a, b = G(torch.randn(n, NZ)), ring(n, 9)
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


WORKS = lambda score: score < 0.2

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(90):
        w = 0.0
        for batch in p["train_loader"]:
            w += p["step"](p["model"], batch, p["optimizer"]).item()
        if epoch % 10 == 0:
            print(f"epoch {epoch}: critic loss {w / len(p['train_loader']):.4f}  ed {energy_distance(p['model']['G']):.3f}")
    print(f"score: {energy_distance(p['model']['G']):.4f}")
