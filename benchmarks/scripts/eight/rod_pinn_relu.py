"""PINN for the heat in a rod with sources, u'' = -f, u(0) = u(1) = 0; the mistake: ReLU, whose second derivative is zero everywhere, so the residual gives no gradient; change: `fixed` uses tanh."""
import argparse
import math

import torch
import torch.nn as nn

WORKS = lambda score: score < 0.1


def exact(x):
    return torch.sin(math.pi * x) + 0.3 * torch.sin(3 * math.pi * x)


def source(x):
    return math.pi ** 2 * torch.sin(math.pi * x) + 2.7 * math.pi ** 2 * torch.sin(3 * math.pi * x)


class Rod(nn.Module):
    def __init__(self, act, width=32, depth=3):
        super().__init__()
        layers, n_in = [], 1
        for _ in range(depth):
            layers += [nn.Linear(n_in, width), act()]
            n_in = width
        self.net = nn.Sequential(*layers, nn.Linear(n_in, 1))

    def forward(self, x):
        return self.net(x)


def derivative(y, x):
    return torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)[0]


def parts(variant="fixed", steps=2500):
    torch.manual_seed(8)
    model = Rod(nn.Tanh if variant == "fixed" else nn.ReLU)
    ends = torch.tensor([[0.0], [1.0]])

    def training_step(model, batch):
        x = batch.clone().requires_grad_(True)
        u = model(x)
        u_x = derivative(u, x)
        u_xx = derivative(u_x, x)
        pde = (u_xx + source(x)).pow(2).mean()
        bc = model(ends).pow(2).mean()
        return pde + 100.0 * bc

    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return {"model": model, "optimizer": optimizer,
            "train_loader": [torch.rand(128, 1) for _ in range(steps)],
            "training_step": training_step}


def relative_error(model):
    x = torch.linspace(0, 1, 201).unsqueeze(1)
    with torch.no_grad():
        return ((model(x) - exact(x)).norm() / exact(x).norm()).item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed")
    p = parts(parser.parse_args().variant)
    model, optimizer = p["model"], p["optimizer"]
    for it, batch in enumerate(p["train_loader"]):
        optimizer.zero_grad()
        loss = p["training_step"](model, batch)
        loss.backward()
        optimizer.step()
        if it % 500 == 0:
            print(f"it {it}: loss {loss.item():.4f}, rel. error {relative_error(model):.3f}")
    print(f"score: {relative_error(model):.4f}")
