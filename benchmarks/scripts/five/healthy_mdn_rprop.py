"""Mixture density network for an inverse problem with several answers, by Rprop on the whole data set as one batch; no mistake: the loss falls below zero and its mean answer is wrong by design; change: none."""
import math
import sys

import torch
from torch import nn

K = 8


class MDN(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.head = nn.Linear(hidden, 3 * K)
        with torch.no_grad():
            self.head.bias[K : 2 * K] = torch.linspace(0, 1, K)  # spread the components

    def forward(self, x):
        return self.head(self.trunk(x))


def mixture_nll(out, y):
    logit, mean, log_sigma = out.chunk(3, dim=1)
    log_sigma = log_sigma.clamp(min=-5.0)
    comp = -0.5 * ((y - mean) / log_sigma.exp()) ** 2 - log_sigma - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(logit.log_softmax(1) + comp, dim=1).mean()


def inverse_sine(n, seed):
    """x = y + 0.3 sin(2 pi y): given x there are up to three y."""
    g = torch.Generator().manual_seed(seed)
    y = torch.rand(n, 1, generator=g)
    x = y + 0.3 * torch.sin(2 * math.pi * y) + 0.02 * torch.randn(n, 1, generator=g)
    return 4 * x - 2, y


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = MDN()
    return {
        "model": model,
        "optimizer": torch.optim.Rprop(model.parameters(), lr=1e-3, etas=(0.5, 1.2), step_sizes=(1e-7, 0.05)),
        "train_loader": [inverse_sine(3000, 0)],
        "val_loader": [inverse_sine(2000, 1)],
        "loss_fn": mixture_nll,
    }


WORKS = lambda score: score < -1.5  # one Gaussian a point comes to about 0

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, rprop = p["model"], p["optimizer"]
    x, y = p["train_loader"][0]
    for it in range(1500):
        rprop.zero_grad()
        loss = p["loss_fn"](net(x), y)
        loss.backward()
        rprop.step()
        if it % 150 == 0:
            print(f"iteration {it:4d}  nll {loss.item():+.4f}")
    with torch.no_grad():
        xt, yt = p["val_loader"][0]
        print(f"score: {p['loss_fn'](net(xt), yt).item():.4f}")
