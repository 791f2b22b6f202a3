"""Shape of a loaded membrane (Poisson's equation) by a physics-informed net, Adam; the second derivatives have the shape (N, 1) and the load (N,), and their difference is (N, N), least for a flat membrane; change: the load as a column."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Membrane(nn.Module):
    """fixed at the rim of the unit square by construction"""

    def __init__(self, width=40):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, 1))

    def forward(self, p):
        x, y = p[:, :1], p[:, 1:]
        return 16 * x * (1 - x) * y * (1 - y) * self.net(2 * p - 1)


def shape(p):
    return torch.sin(math.pi * p[:, 0]) * torch.sin(2 * math.pi * p[:, 1])


def load(p):
    return -5 * math.pi ** 2 * shape(p)


def laplacian(u, p):
    du = torch.autograd.grad(u.sum(), p, create_graph=True)[0]
    dxx = torch.autograd.grad(du[:, 0].sum(), p, create_graph=True)[0][:, :1]
    dyy = torch.autograd.grad(du[:, 1].sum(), p, create_graph=True)[0][:, 1:]
    return dxx + dyy


class Residual:
    def __init__(self, column):
        self.column = column

    def __call__(self, model, batch):
        points = batch[0].clone().requires_grad_(True)
        source = load(points.detach())
        if self.column:
            source = source.unsqueeze(1)
        residual = laplacian(model(points), points) - source
        return (residual / 25).pow(2).mean()


def parts(variant):
    torch.manual_seed(0)
    model = Membrane()
    points = torch.rand(4000, 2, generator=torch.Generator().manual_seed(1))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "train_loader": DataLoader(TensorDataset(points), batch_size=200, shuffle=True),
        "training_step": Residual(column=variant != "bad"),
    }


WORKS = lambda score: score > 0.9


@torch.no_grad()
def agreement(model):
    axis = torch.linspace(0, 1, 41)
    grid = torch.cartesian_prod(axis, axis)
    exact = shape(grid)
    return 1 - ((model(grid).squeeze(1) - exact).norm() / exact.norm()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for epoch in range(50):
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
        schedule.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: residual {loss.item():.5f}, agreement {agreement(model):.3f}")
    print(f"score: {agreement(model):.4f}")
