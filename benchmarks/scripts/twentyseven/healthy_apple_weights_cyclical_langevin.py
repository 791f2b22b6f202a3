"""Bayesian regression of apple weights by cyclical stochastic gradient Langevin dynamics. Odd, but right: the loss is a potential (number of apples times the mean negative log likelihood, minus the log prior) in the hundreds and thousands, the rate is of the order of a hundred-thousandth and rises again at each cycle, and the optimizer adds noise of the square root of the rate to every weight; the prediction averages the networks kept at the ends of the cycles. Score: held-out R2."""
import copy
import math

import numpy as np
import torch
import torch.nn as nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
APPLES, CYCLES, EPOCHS_PER_CYCLE = 1500, 4, 12


class SGLD(Optimizer):
    """Half a gradient step on the potential plus Gaussian noise with the variance of the rate."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.add_(p.grad, alpha=-0.5 * group["lr"])
                    p.add_(torch.randn_like(p), alpha=math.sqrt(group["lr"]))


class AppleNet(nn.Module):
    def __init__(self, hidden=50):
        super().__init__()
        self.hidden, self.out = nn.Linear(4, hidden), nn.Linear(hidden, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x))).squeeze(1)


def potential(model, batch, noise=0.2):
    x, y = batch
    nll = 0.5 * ((model(x) - y) / noise) ** 2
    prior = sum(0.5 * p.pow(2).sum() for p in model.parameters())
    return APPLES * nll.mean() + prior


def pick_apples(n, seed):
    rng = np.random.default_rng(seed)
    width = rng.normal(7.5, 0.8, n)
    height = width * rng.normal(0.9, 0.06, n)
    firmness, days = rng.normal(70, 8, n), rng.uniform(0, 40, n)
    weight = 0.42 * width ** 2 * height * (1 - 0.0025 * days) * (1 + 0.002 * (firmness - 70)) * rng.normal(1, 0.04, n)
    return np.column_stack([width, height, firmness, days]), weight


def parts(variant):
    torch.manual_seed(26)
    x, y = pick_apples(APPLES, 1)
    xv, yv = pick_apples(400, 2)
    mx, sx, my, sy = x.mean(0), x.std(0), y.mean(), y.std()
    to = lambda a: torch.tensor(a, dtype=torch.float32)
    model = AppleNet()
    return {"model": model, "optimizer": SGLD(model.parameters(), lr=2e-5), "training_step": potential,
            "train_loader": DataLoader(TensorDataset(to((x - mx) / sx), to((y - my) / sy)), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(to((xv - mx) / sx), to((yv - my) / sy)), batch_size=400)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    per_cycle = EPOCHS_PER_CYCLE * len(p["train_loader"])
    wave = lambda s: 0.05 + 0.475 * (1 + math.cos(math.pi * (s % per_cycle) / per_cycle))
    scheduler = torch.optim.lr_scheduler.LambdaLR(p["optimizer"], wave)
    samples = []
    for epoch in range(CYCLES * EPOCHS_PER_CYCLE):
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            scheduler.step()
        if epoch % EPOCHS_PER_CYCLE >= EPOCHS_PER_CYCLE - 3 and epoch >= EPOCHS_PER_CYCLE:
            samples.append(copy.deepcopy(p["model"]))
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        preds = torch.stack([m(x) for m in samples])
    print(f"{len(samples)} networks, last potential {loss.item():.0f}, spread {preds.std(0).mean().item():.3f}")
    print("score:", 1 - ((preds.mean(0) - y).pow(2).sum() / (y - y.mean()).pow(2).sum()).item())
