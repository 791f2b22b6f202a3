"""Hinge GAN on two moons with spectral norm, Adam without momentum and an averaged generator; no mistake: the losses hover and the generator's rises while the samples get good; change: none."""
import copy
import sys

import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset

NZ = 4


def generator():
    return nn.Sequential(nn.Linear(NZ, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 2))


def discriminator():
    sn = spectral_norm
    return nn.Sequential(sn(nn.Linear(2, 96)), nn.LeakyReLU(0.2), sn(nn.Linear(96, 96)), nn.LeakyReLU(0.2), sn(nn.Linear(96, 96)), nn.LeakyReLU(0.2), nn.Linear(96, 1))


def moons(n, seed):
    xy, _ = make_moons(n, noise=0.05, random_state=seed)
    return (torch.tensor(xy, dtype=torch.float32) - torch.tensor([0.5, 0.25])) * 2


def parts(variant="fixed"):
    torch.manual_seed(0)
    nets = nn.ModuleDict({"gen": generator(), "disc": discriminator()})
    nets["gen_ema"] = copy.deepcopy(nets["gen"]).requires_grad_(False)
    opt_g = torch.optim.Adam(nets["gen"].parameters(), lr=3e-4, betas=(0.0, 0.9))
    opt_d = torch.optim.Adam(nets["disc"].parameters(), lr=1e-3, betas=(0.0, 0.9))

    def step(nets, batch, optimizer):
        og, od = optimizer
        real = batch[0]
        fake = nets["gen"](torch.randn(len(real), NZ))
        od.zero_grad()
        loss_d = torch.relu(1 - nets["disc"](real)).mean() + torch.relu(1 + nets["disc"](fake.detach())).mean()
        loss_d.backward()
        od.step()
        og.zero_grad()
        loss_g = -nets["disc"](fake).mean()
        loss_g.backward()
        og.step()
        with torch.no_grad():
            for a, b in zip(nets["gen_ema"].parameters(), nets["gen"].parameters()):
                a.lerp_(b, 0.01)
        return (loss_d + loss_g).detach()

    return {
        "model": nets,
        "optimizer": [opt_g, opt_d],
        "train_loader": DataLoader(TensorDataset(moons(12800, 0)), batch_size=128, shuffle=True),
        "step": step,
    }


@torch.no_grad()
def energy_distance(gen, n=2000):
    torch.manual_seed(5)
    a, b = gen(torch.randn(n, NZ)), moons(n, 6)
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


WORKS = lambda score: score < 0.06

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    nets = p["model"]
    for epoch in range(50):
        total = sum(p["step"](nets, batch, p["optimizer"]).item() for batch in p["train_loader"])
        if epoch % 5 == 0:
            print(f"epoch {epoch}: d+g {total / 100:+.3f}  energy distance {energy_distance(nets['gen_ema']):.4f}")
    print(f"score: {energy_distance(nets['gen_ema']):.4f}")
