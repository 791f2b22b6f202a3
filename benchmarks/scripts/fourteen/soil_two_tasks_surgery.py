"""Soil moisture and soil carbon from reflectance, shared net, with projection of conflicting gradients by torch.autograd.grad; bad: the projected gradient is added to p.grad and nothing ever clears it. change: optimizer.zero_grad() at the head of the step."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def reflectance(n, seed):
    rng = np.random.default_rng(seed)
    moisture, carbon, clay = rng.uniform(0, 1, (3, n))
    bands = np.linspace(0, 1, 20)
    dark = np.exp(-1.2 * carbon[:, None] * (1 - bands)) * (0.5 + 0.4 * bands)
    water = 1 - 0.5 * moisture[:, None] ** 0.7 * np.exp(-((bands - 0.75) / 0.1) ** 2)
    mineral = 1 - 0.2 * clay[:, None] * np.exp(-((bands - 0.9) / 0.05) ** 2)
    X = dark * water * mineral + rng.normal(0, 0.01, (n, 20))
    return X.astype(np.float32), np.stack([moisture, carbon], 1).astype(np.float32)


class SoilNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.moisture = nn.Linear(64, 1)
        self.carbon = nn.Linear(64, 1)

    def forward(self, x):
        h = self.shared(x)
        return torch.cat([self.moisture(h), self.carbon(h)], 1)


def project(own, other):
    dot = sum((a * b).sum() for a, b in zip(own, other))
    if dot >= 0:
        return own
    norm = sum((b * b).sum() for b in other) + 1e-12
    return [a - dot / norm * b for a, b in zip(own, other)]


def make_step(variant):
    def step(model, batch, optimizer):
        if variant != "bad":
            optimizer.zero_grad()
        x, y = batch
        out = model(x)
        losses = [F.mse_loss(out[:, k], y[:, k]) for k in range(2)]
        params = list(model.parameters())
        grads = [torch.autograd.grad(l, params, retain_graph=True, materialize_grads=True) for l in losses]
        merged = zip(project(grads[0], grads[1]), project(grads[1], grads[0]))
        for p, (a, b) in zip(params, merged):
            p.grad = a + b if p.grad is None else p.grad + a + b
        optimizer.step()
        return sum(losses).detach()
    return step


def parts(variant):
    torch.manual_seed(0)
    X, y = reflectance(2000, 1)
    X, y = (X - X[:1600].mean(0)) / X[:1600].std(0), (y - y[:1600].mean(0)) / y[:1600].std(0)
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    model = SoilNet()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
        "step": make_step(variant),
        "train_loader": DataLoader(TensorDataset(X[:1600], y[:1600]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(X[1600:], y[1600:]), batch_size=200),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(20):
        model.train()
        seen = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: both losses {np.mean(seen):.4f}")
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(x) for x, _ in p["val_loader"]])
    ref = torch.cat([y for _, y in p["val_loader"]])
    score = (1 - ((out - ref) ** 2).mean(0) / ref.var(0)).mean().item()
    print(f"score: {score:.4f}")
