"""Sound program: the equations of the Lorenz system from a library of monomials, Adam and a proximal step (soft threshold) by hand after it: the weights start at zero, and most of them are and stay exactly zero."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def lorenz(n, seed, dt=0.01):
    rng = np.random.default_rng(seed)
    s = rng.normal(0, 5, 3) + [0, 0, 25]
    states, slopes = [], []
    for i in range(n + 500):
        x, y, z = s
        slope = np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])
        if i >= 500:
            states.append(s.copy())
            slopes.append(slope)
        s = s + dt * slope
    return np.array(states), np.array(slopes) + rng.normal(0, 1.0, (n, 3))


class Library(nn.Module):
    """all monomials up to the third degree in scaled coordinates, and one linear layer"""

    def __init__(self):
        super().__init__()
        self.powers = [(a, b, c) for a in range(4) for b in range(4) for c in range(4) if a + b + c <= 3]
        self.linear = nn.Linear(len(self.powers), 3, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, s):
        return self.linear(torch.stack([s[:, 0] ** a * s[:, 1] ** b * s[:, 2] ** c for a, b, c in self.powers], 1))


def parts(variant):
    torch.manual_seed(0)
    states, slopes = lorenz(6000, 1)
    val_states, val_slopes = lorenz(1500, 2)
    middle, scale, out = states.mean(0), states.std(0), slopes.std(0)
    tensors = lambda s, d: TensorDataset(torch.tensor((s - middle) / scale, dtype=torch.float32),
                                         torch.tensor(d / out, dtype=torch.float32))
    model = Library()
    criterion = nn.MSELoss()

    def step(model, batch, optimizer):
        s, d = batch
        optimizer.zero_grad()
        loss = criterion(model(s), d)
        loss.backward()
        optimizer.step()
        with torch.no_grad():                       # proximal step for the L1 penalty
            w = model.linear.weight
            w.copy_(w.sign() * (w.abs() - 5e-4).clamp(min=0))
        return loss.detach()

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(tensors(states, slopes), batch_size=100, shuffle=True),
        "val_loader": DataLoader(tensors(val_states, val_slopes), batch_size=500),
        "loss_fn": criterion,
        "step": step,
    }


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]

    def explained():
        with torch.no_grad():
            out, d = (torch.cat(v) for v in zip(*[(model(s), d) for s, d in p["val_loader"]]))
        return (1 - (out - d).pow(2).mean() / d.pow(2).mean()).item()

    for epoch in range(40):
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, p["optimizer"])
        if epoch % 5 == 4:
            zeros = (model.linear.weight == 0).float().mean().item()
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, zero weights {zeros:.2f}, explained {explained():.4f}")
    print(f"score: {explained():.4f}")
