"""Physics-informed net for u'' = -pi^2 sin(pi x), u(-1) = u(1) = 0; with ReLU the second derivative is zero everywhere, so the residual has no gradient and the net learns u = 0; the right change: a smooth activation (tanh)."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class PINN(nn.Module):
    def __init__(self, act, width=32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, width), act(), nn.Linear(width, width), act(), nn.Linear(width, width), act(), nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x)


def parts(variant):
    torch.manual_seed(0)
    net = PINN(nn.ReLU if variant == "bad" else nn.Tanh)
    xb = torch.tensor([[-1.0], [1.0]])

    def training_step(model, batch):
        x = batch[0].clone().requires_grad_(True)
        u = model(x)
        du = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        d2u = torch.autograd.grad(du.sum(), x, create_graph=True)[0] if du.requires_grad else torch.zeros_like(x)
        residual = d2u + math.pi ** 2 * torch.sin(math.pi * x)
        return (residual ** 2).mean() + 100 * (model(xb) ** 2).mean()

    g = torch.Generator().manual_seed(1)
    xs = torch.rand(1024, 1, generator=g) * 2 - 1
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(xs), 128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(torch.linspace(-1, 1, 200).view(-1, 1)), 200)}


WORKS = lambda score: score < 0.1  # relative L2 error of u

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(150):
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](net, batch)
            loss.backward()
            opt.step()
        if epoch % 30 == 29:
            print(f"epoch {epoch + 1}  loss {loss.item():.4e}")
    x = torch.linspace(-1, 1, 200).view(-1, 1)
    exact = torch.sin(math.pi * x)
    with torch.no_grad():
        print("score:", ((net(x) - exact).norm() / exact.norm()).item())
