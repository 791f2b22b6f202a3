"""Neural ODE of a predator and its prey: the net gives the derivative, RK4 carries the state along, RMSprop; after the solver was put into a function of its own, each step evaluates the field at y0, the state at the start, so a path is a straight line; change: at the current state y."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DT, STEPS = 0.15, 20


def cycles(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.uniform(0.4, 2.2, (n, 2))
    rate = lambda s: np.stack([1.2 * s[:, 0] - s[:, 0] * s[:, 1], s[:, 0] * s[:, 1] - 1.1 * s[:, 1]], 1)
    path, fine = [y], 15
    for _ in range(STEPS):
        for _ in range(fine):
            mid = y + 0.5 * DT / fine * rate(y)
            y = y + DT / fine * rate(mid)
        path.append(y)
    path = (np.log(np.stack(path, 1)) / 0.6).astype(np.float32)
    seen = path + 0.02 * rng.standard_normal(path.shape).astype(np.float32)
    return torch.from_numpy(path[:, 0]), torch.from_numpy(seen[:, 1:])


class Field(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2))

    def forward(self, y):
        return self.net(y)


def rk4(f, y, dt):
    k1 = f(y)
    k2 = f(y + 0.5 * dt * k1)
    k3 = f(y + 0.5 * dt * k2)
    k4 = f(y + dt * k3)
    return dt * (k1 + 2 * k2 + 2 * k3 + k4) / 6


def odeint(f, y0, steps, dt, from_current):
    y, path = y0, []
    for _ in range(steps):
        y = y + rk4(f, y if from_current else y0, dt)
        path.append(y)
    return torch.stack(path, 1)


class NeuralODE(nn.Module):
    def __init__(self, from_current):
        super().__init__()
        self.field, self.from_current = Field(), from_current

    def forward(self, y0):
        return odeint(self.field, y0, STEPS, DT, self.from_current)


def parts(variant):
    torch.manual_seed(0)
    model = NeuralODE(from_current=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.95),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*cycles(320, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*cycles(100, 2)), batch_size=100),
    }


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(y0) for y0, _ in loader])
    y = torch.cat([y for _, y in loader])
    return 1 - ((out - y) ** 2).sum().item() / ((y - y.mean((0, 1))) ** 2).sum().item()


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        model.train()
        for y0, path in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(y0), path)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, R2 {evaluate(model, p['val_loader']):.3f}")
    print(f"score: {evaluate(model, p['val_loader']):.4f}")
