"""Deep Ritz method for a loaded membrane: random points drawn in the loader each step, loss is an energy whose minimum lies below zero, boundary held by a factor, residual blocks with cubed ReLU; sound. change: nothing."""
import sys
import math
import torch
from torch import nn


class Points:
    """Fresh uniform points in the unit square for every step."""

    def __init__(self, steps, n):
        self.steps, self.n = steps, n

    def __len__(self):
        return self.steps

    def __iter__(self):
        for _ in range(self.steps):
            yield (torch.rand(self.n, 2),)


class Membrane(nn.Module):
    def __init__(self, h=24, blocks=2):
        super().__init__()
        self.inp = nn.Linear(2, h)
        self.blocks = nn.ModuleList(nn.ModuleList([nn.Linear(h, h), nn.Linear(h, h)]) for _ in range(blocks))
        self.out = nn.Linear(h, 1)

    def forward(self, p):
        act = lambda t: torch.relu(t) ** 3
        z = self.inp(2 * p - 1)
        for a, b in self.blocks:
            z = z + act(b(torch.tanh(a(z))))
        x, y = p[:, :1], p[:, 1:]
        return 16 * x * (1 - x) * y * (1 - y) * self.out(torch.tanh(z))


def load(p):
    return 2 * math.pi ** 2 * torch.sin(math.pi * p[:, :1]) * torch.sin(math.pi * p[:, 1:])


def exact(p):
    return torch.sin(math.pi * p[:, :1]) * torch.sin(math.pi * p[:, 1:])


def training_step(model, batch):
    p = batch[0].requires_grad_()
    u = model(p)
    grad = torch.autograd.grad(u, p, torch.ones_like(u), create_graph=True)[0]
    return (0.5 * grad.pow(2).sum(1, keepdim=True) - load(p) * u).mean()


def parts(variant):
    torch.manual_seed(0)
    model = Membrane()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return dict(model=model, optimizer=opt, scheduler=torch.optim.lr_scheduler.ExponentialLR(opt, 0.8), training_step=training_step,
                train_loader=Points(100, 512), val_loader=Points(4, 512))


WORKS = lambda score: score < 0.05  # relative L2 error on a grid; u = 0 has 1

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print("lowest possible energy", -math.pi ** 2 / 4)
    for epoch in range(12):
        mean = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            mean += loss.item() / 100
        p["scheduler"].step()
        print(f"epoch {epoch} energy {mean:.4f}")
    t = torch.linspace(0, 1, 41)
    grid = torch.cartesian_prod(t, t)
    with torch.no_grad():
        score = ((model(grid) - exact(grid)).norm() / exact(grid).norm()).item()
    print(f"score: {score:.4f}")
