"""Price of marble blocks with some wild outliers: Huber loss, gradient norm clipped at 1.0 (nearly every step at first), and RMSprop; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def blocks(n=2400):
    rng = np.random.default_rng(77)
    X = rng.normal(size=(n, 7))
    clean = 30 + 12 * X[:, 0] + 8 * np.abs(X[:, 1]) + 6 * X[:, 2] * X[:, 3] - 5 * X[:, 4]
    y = clean + rng.normal(0, 1.5, n)
    odd = rng.random(n) < 0.04
    y[odd] += rng.standard_cauchy(odd.sum()) * 60
    return X, y, clean


class PriceNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(7, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU())
        self.price = nn.Linear(96, 1)

    def forward(self, x):
        return self.price(self.trunk(x)).squeeze(1)


def step(model, batch, optimizer):
    x, y = batch
    optimizer.zero_grad()
    loss = nn.functional.huber_loss(model(x), y, delta=3.0)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    X, y, clean = blocks()
    X, y, clean = (torch.tensor(a, dtype=torch.float32) for a in (X, y, clean))
    model = PriceNet()
    return {"model": model, "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3), "step": step,
            "train_loader": DataLoader(TensorDataset(X[:2000], y[:2000]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[2000:], clean[2000:]), batch_size=100)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 4 == 0:
            print(f"epoch {epoch} huber {np.mean(losses):.3f}")
    with torch.no_grad():
        pred = torch.cat([model(x) for x, _ in p["val_loader"]])
        true = torch.cat([y for _, y in p["val_loader"]])
    print(f"score: {1 - ((pred - true) ** 2).mean().item() / true.var().item():.4f}")
