"""Classifies kelp beds by spectra with an MLP under a hand-written Muon: each weight matrix moves by its momentum made orthogonal through Newton-Schulz, vectors by plain momentum; unusual: the size of a step does not depend on the size of the gradient."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def newton_schulz(G, steps=5):
    a, b, c = 3.4445, -4.7750, 2.0315
    X = G / (G.norm() + 1e-7)
    flip = X.size(0) > X.size(1)
    if flip:
        X = X.T
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if flip else X


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr=0.02, momentum=0.95, vector_lr=0.01):
        super().__init__(params, dict(lr=lr, momentum=momentum, vector_lr=vector_lr))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                buf = self.state[p].setdefault("buf", torch.zeros_like(p))
                buf.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(buf, group["momentum"])
                if p.ndim == 2:
                    scale = max(1, p.size(0) / p.size(1)) ** 0.5
                    p.add_(newton_schulz(update), alpha=-group["lr"] * scale)
                else:
                    p.add_(update, alpha=-group["vector_lr"])


def spectra(n, rng):
    kinds = rng.integers(0, 6, n)
    wl = np.linspace(0, 1, 50)
    depth = rng.uniform(0.5, 2, (n, 1))
    centre = np.array([.2, .3, .45, .55, .7, .8])[kinds][:, None] + rng.normal(0, 0.03, (n, 1))
    second = np.array([.6, .9, .15, .85, .35, .1])[kinds][:, None]
    X = np.exp(-depth * wl) * (1 - 0.5 * np.exp(-(wl - centre) ** 2 / 0.004) - 0.3 * np.exp(-(wl - second) ** 2 / 0.002))
    return X + rng.normal(0, 0.06, X.shape), kinds


def parts(variant):
    torch.manual_seed(0)
    X, y = spectra(3000, np.random.default_rng(0))
    X = torch.tensor((X - X[:2400].mean(0)) / X[:2400].std(0), dtype=torch.float32)
    y = torch.tensor(y)
    model = nn.Sequential(nn.Linear(50, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 6))
    return {"model": model, "optimizer": Muon(model.parameters()), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(X[:2400], y[:2400]), batch_size=80, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[2400:], y[2400:]), batch_size=600),
            "metric": lambda o, t: (o.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    epochs = 20
    for epoch in range(epochs):
        for g in opt.param_groups:
            g["lr"] = 0.02 * (1 - epoch / epochs)
        net.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch} loss {loss.item():.4f} acc {acc:.3f}")
    print("score:", acc)
