"""Kernel regression by random Fourier features: most weights are random and frozen, the readout learns by plain SGD at a rate of 3000; no mistake: the output is a mean over 1500 features, so the rate has to grow with their number; change: none."""
import math
import sys

import torch
import torch.nn as nn
from sklearn.datasets import make_friedman1
from torch.utils.data import DataLoader, TensorDataset

D, FEATURES, WIDTH = 5, 1500, 0.9


class RandomFeatures(nn.Module):
    def __init__(self, n_in=D, n_out=FEATURES, width=WIDTH):
        super().__init__()
        self.proj = nn.Linear(n_in, n_out)
        nn.init.normal_(self.proj.weight, std=width)
        nn.init.uniform_(self.proj.bias, 0, 2 * math.pi)
        self.proj.requires_grad_(False)
        self.readout = nn.Linear(n_out, 1)
        nn.init.zeros_(self.readout.weight)

    def forward(self, x):
        phi = torch.cos(self.proj(x))
        return self.readout(phi / phi.shape[1]).squeeze(1)  # mean-field scaling


def load(n, seed):
    x, y = make_friedman1(n, n_features=D, noise=0.3, random_state=seed)
    x = (torch.tensor(x, dtype=torch.float32) - 0.5) * 12 ** 0.5
    return TensorDataset(x, torch.tensor((y - 14.4) / 4.9, dtype=torch.float32))


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = RandomFeatures()
    optimizer = torch.optim.SGD([{"params": [model.readout.weight], "lr": 2.0 * FEATURES}, {"params": [model.readout.bias], "lr": 0.01}])
    return {
        "model": model,
        "optimizer": optimizer,
        "train_loader": DataLoader(load(6000, 0), batch_size=50, shuffle=True),
        "val_loader": DataLoader(load(1000, 1), batch_size=1000),
        "loss_fn": nn.MSELoss(),
        "metric": lambda out, y: 1 - ((out - y) ** 2).mean() / y.var(),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(75):
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 0:
            print(f"epoch {epoch:2d}  mse {total / len(p['train_loader']):.4f}")
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        print(f"score: {p['metric'](model(x), y).item():.4f}")
