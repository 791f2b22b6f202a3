"""Water level at a harbour as a sum of waves whose amplitudes (cosine and sine) are fitted from a numpy start; .float() is called on the nn.Parameter of float64 numbers, which gives a plain tensor that is not registered, so only the slow trend's network is in the optimizer; change: .float() inside nn.Parameter(...)."""
import math
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

FREQUENCIES = torch.tensor([1.93, 2.00, 1.00, 0.93, 3.87])


def levels(n, seed):
    fixed = torch.Generator().manual_seed(9)
    amplitude = torch.tensor([1.0, 0.5, 0.35, 0.3, 0.12])
    phase = 6.28 * torch.rand(5, generator=fixed)
    g = torch.Generator().manual_seed(seed)
    day = 20 * torch.rand(n, 1, generator=g)
    y = (amplitude * torch.cos(2 * math.pi * FREQUENCIES * day + phase)).sum(1) + 0.4 * torch.tanh((day[:, 0] - 10) / 3)
    return day, (y + 0.05 * torch.randn(n, generator=g)).unsqueeze(1)


class Harmonics(nn.Module):
    def __init__(self, float_inside, waves=5, scale=0.1):
        super().__init__()
        self.register_buffer("frequency", FREQUENCIES[:waves].clone())
        start = scale * np.random.default_rng(0).standard_normal((2, waves, 1))
        if float_inside:
            self.cosine = nn.Parameter(torch.from_numpy(start[0]).float())
            self.sine = nn.Parameter(torch.from_numpy(start[1]).float())
        else:
            self.cosine = nn.Parameter(torch.from_numpy(start[0])).float()
            self.sine = nn.Parameter(torch.from_numpy(start[1])).float()
        self.trend = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, day):
        angle = 2 * math.pi * self.frequency * day
        tide = angle.cos() @ self.cosine + angle.sin() @ self.sine
        return tide + self.trend((day - 10) / 5.8)


def parts(variant):
    torch.manual_seed(0)
    model = Harmonics(float_inside=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.1),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*levels(1500, 1)), batch_size=30, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*levels(400, 2)), batch_size=200),
    }


def skill(model, loader):
    with torch.no_grad():
        out, y = map(torch.cat, zip(*[(model(d), y) for d, y in loader]))
    return (1 - (out - y).pow(2).mean() / y.var()).item()


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        total = 0.0
        for day, level in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(day), level)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, skill {skill(model, p['val_loader']):.3f}")
    print(f"score: {skill(model, p['val_loader']):.4f}")
