"""Physics-informed network for the bending of a diving board: w'''' = q(x), clamped at 0 (built into the form x^2 N(x)), free at 1 (penalty on w'' and w'''). Unusual: fourth derivatives through autograd in float64, no measured data at all; compared with the integrated solution."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def load(x):
    return 24 + 16 * torch.sin(2 * math.pi * x)


class Board(nn.Module):
    def __init__(self, h=24):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, h), nn.Tanh(), nn.Linear(h, h), nn.Tanh(), nn.Linear(h, 1))

    def forward(self, x):
        return x ** 2 * self.net(2 * x - 1)


def derivatives(model, x, order):
    out = [model(x)]
    for _ in range(order):
        out.append(torch.autograd.grad(out[-1].sum(), x, create_graph=True)[0])
    return out


def training_step(model, batch):
    x = batch[0].clone().requires_grad_(True)
    residual = (derivatives(model, x, 4)[4] - load(x)) / 24
    tip = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    _, _, moment, shear = derivatives(model, tip, 3)
    return (residual ** 2).mean() + 0.1 * (moment ** 2 + shear ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    model = Board().double()
    points = torch.rand(4800, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(points), batch_size=48, shuffle=True)}


WORKS = lambda score: score < 0.05


def reference(n=4001):
    x = torch.linspace(0, 1, n, dtype=torch.float64)

    def integral(f):
        s = torch.zeros_like(f)
        s[1:] = torch.cumsum((f[1:] + f[:-1]) / 2, 0) / (n - 1)
        return s

    shear = integral(load(x))
    shear = shear - shear[-1]
    moment = integral(shear)
    moment = moment - moment[-1]
    return x[:, None], integral(integral(moment))[:, None]


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    epochs = 6
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, 0.75)
    x, w = reference()
    for epoch in range(epochs):
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
        sched.step()
        with torch.no_grad():
            err = ((model(x) - w).norm() / w.norm()).item()
        print(f"epoch {epoch + 1}: loss {loss.item():.2e}  relative error {err:.4f}")
    print("score:", err)
