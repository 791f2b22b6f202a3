"""Mixture density network for an inverse problem, with a hand-written Lion optimizer, healthy: the loss is negative, weights move by signs only; no mistake."""
import sys

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda nll: nll < -0.6


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * (b1 * m + (1 - b1) * p.grad).sign())
                m.mul_(b2).add_(p.grad, alpha=1 - b2)


class MDN(nn.Module):
    def __init__(self, k=5, width=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.pi, self.mu, self.log_sigma = (nn.Linear(width, k) for _ in range(3))
        self.mu.bias.data = torch.linspace(-1, 1, k)

    def forward(self, x):
        h = self.body(x)
        return MixtureSameFamily(Categorical(logits=self.pi(h)),
                                 Normal(self.mu(h), self.log_sigma(h).clamp(-5, 2).exp()))


def nll(dist, y):
    return -dist.log_prob(y).mean()


def data(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.uniform(-1, 1, n)
    x = y + 0.45 * np.sin(2 * np.pi * y) + rng.normal(0, 0.05, n)       # many y for one x
    return TensorDataset(torch.tensor(x[:, None], dtype=torch.float32), torch.tensor(y, dtype=torch.float32))


def parts(variant="fixed"):
    torch.manual_seed(14)
    model = MDN()
    optimizer = Lion(model.parameters(), lr=3e-4, weight_decay=0.01)
    return {"model": model, "optimizer": optimizer, "train_loader": DataLoader(data(4000, 0), 64, shuffle=True),
            "val_loader": DataLoader(data(1000, 1), 1000), "loss_fn": nll,
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40 * 63, 1e-5)}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(40):
        run = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = nll(p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            run.append(loss.item())
        if epoch % 5 == 4:
            with torch.no_grad():
                val = np.mean([nll(p["model"](x), y).item() for x, y in p["val_loader"]])
            print(f"epoch {epoch + 1} train nll {np.mean(run):+.4f} val nll {val:+.4f}")
    print("score:", round(float(val), 4))
