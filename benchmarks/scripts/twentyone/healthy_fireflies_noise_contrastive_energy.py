"""An energy model of 2-D firefly positions with a learned normaliser, estimated by noise-contrastive estimation against a wide Gaussian; the loss begins at log 2 per side and has a large floor."""
import sys
import math
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

NOISE_STD = 1.6


def swarm(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.rand(n, generator=g) * 2 * math.pi
    ring = torch.stack([1.8 * t.cos(), 1.8 * t.sin()], 1)
    spot = torch.tensor([[0.0, 0.0]]).expand(n, 2)
    pick = (torch.rand(n, 1, generator=g) < 0.7).float()
    return pick * ring + (1 - pick) * spot + 0.12 * torch.randn(n, 2, generator=g)


def noise_log_prob(x):
    return -0.5 * (x / NOISE_STD).pow(2).sum(1) - math.log(2 * math.pi * NOISE_STD ** 2)


class Energy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 1, bias=False))
        self.log_z = nn.Parameter(torch.zeros(1))

    def log_prob(self, x):
        return -self.net(x).squeeze(1) - 0.1 * x.pow(2).sum(1) - self.log_z

    def forward(self, x):
        return self.log_prob(x)


def nce(model, batch):
    x, = batch
    noise = torch.randn_like(x) * NOISE_STD
    ratio_data = model(x) - noise_log_prob(x)
    ratio_noise = model(noise) - noise_log_prob(noise)
    return F.softplus(-ratio_data).mean() + F.softplus(ratio_noise).mean()


def grid_log_likelihood(model, x):
    side = torch.linspace(-4, 4, 161)
    grid = torch.cartesian_prod(side, side)
    log_total = torch.logsumexp(model(grid), 0) + 2 * math.log((side[1] - side[0]).item())
    return (model(x) - log_total).mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = Energy()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4),
        "training_step": nce,
        "train_loader": DataLoader(TensorDataset(swarm(8000, 1)), batch_size=200, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(swarm(2000, 2)), batch_size=2000),
    }


# log-likelihood under the normalised model; a Gaussian fitted to the points reaches about -3.4
WORKS = lambda score: score > -2.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    held_out, = next(iter(p["val_loader"]))
    for epoch in range(40):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = grid_log_likelihood(model, held_out)
        print(f"epoch {epoch} nce {total / len(p['train_loader']):.4f} log-likelihood {score:.4f}")
    print(f"score: {score:.4f}")
