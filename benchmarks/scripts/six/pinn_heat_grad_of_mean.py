"""PINN for the heat equation; derivatives are taken of u.mean(), so they shrink with the number of points and the equation is met by anything; change: u.sum()."""
import math
import sys

import torch
import torch.nn as nn

D = 0.15


class PINN(nn.Module):
    def __init__(self, width=40, depth=3):
        super().__init__()
        layers, last = [], 2
        for _ in range(depth):
            layers += [nn.Linear(last, width), nn.Tanh()]
            last = width
        self.net = nn.Sequential(*layers, nn.Linear(last, 1))

    def forward(self, x, t):
        return self.net(torch.cat([2 * x - 1, 2 * t - 1], 1))


def exact(x, t):
    return torch.exp(-D * math.pi ** 2 * t) * torch.sin(math.pi * x) \
        + 0.5 * torch.exp(-4 * D * math.pi ** 2 * t) * torch.sin(2 * math.pi * x)


def parts(variant):
    torch.manual_seed(0)
    model = PINN()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    def d(u, x):
        """du/dx at every point at once"""
        total = u.mean() if variant == "bad" else u.sum()
        return torch.autograd.grad(total, x, create_graph=True)[0]

    def training_step(model, batch):
        x, t = (b.clone().requires_grad_(True) for b in batch)
        u = model(x, t)
        residual = d(u, t) - D * d(d(u, x), x)
        zero = torch.zeros_like(t)
        ic = model(x, zero) - exact(x, zero)
        bc = model(zero, t).pow(2).mean() + model(zero + 1, t).pow(2).mean()
        loss_f = residual.pow(2).mean()
        training_step.log = (loss_f.item(), ic.pow(2).mean().item(), bc.item())
        return loss_f + 10 * (ic.pow(2).mean() + bc)

    gen = torch.Generator().manual_seed(1)
    batches = [(torch.rand(256, 1, generator=gen), torch.rand(256, 1, generator=gen)) for _ in range(50)]
    return {"model": model, "optimizer": optimizer, "train_loader": batches, "training_step": training_step}


WORKS = lambda score: score < 0.08

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(30):
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: total {loss.item():.2e}  pde/ic/bc",
                  " ".join(f"{v:.1e}" for v in p["training_step"].log))
    g = torch.linspace(0, 1, 50)
    x, t = (m.reshape(-1, 1) for m in torch.meshgrid(g, g, indexing="ij"))
    with torch.no_grad():
        rel = (model(x, t) - exact(x, t)).norm() / exact(x, t).norm()
    print(f"score: {rel.item():.4f}")    # relative L2 error on the whole domain
