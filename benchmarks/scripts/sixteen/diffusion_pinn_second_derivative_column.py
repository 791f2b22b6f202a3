"""PINN for the diffusion equation u_t = D u_xx on a rod; bad takes column 1 (time) of the derivative of u_x where it wants u_xx, so the net solves another equation; change: column 0."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

D = 0.1


def exact(xt):
    return torch.exp(-D * math.pi ** 2 * xt[:, 1:]) * torch.sin(math.pi * xt[:, :1])


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, xt):
        return self.net(2 * xt - 1)


def grad(out, inp):
    return torch.autograd.grad(out.sum(), inp, create_graph=True)[0]


def parts(variant):
    torch.manual_seed(0)
    col = 1 if variant == "bad" else 0
    inside = torch.rand(1600, 2)
    start = torch.rand(1600, 2) * torch.tensor([1.0, 0.0])
    ends = torch.stack([torch.randint(0, 2, (1600,)).float(), torch.rand(1600)], 1)
    model = Field()

    def training_step(model, batch):
        inside, start, ends = batch
        inside = inside.clone().requires_grad_(True)
        du = grad(model(inside), inside)
        u_xx = grad(du[:, 0], inside)[:, col:col + 1]
        residual = du[:, 1:] - D * u_xx
        loss_pde = residual.pow(2).mean()
        loss_start = (model(start) - exact(start)).pow(2).mean()
        loss_ends = model(ends).pow(2).mean()
        return loss_pde + 10 * loss_start + 10 * loss_ends

    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    grid = torch.cartesian_prod(torch.linspace(0, 1, 41), torch.linspace(0, 1, 21))
    return {"model": model, "optimizer": optimizer, "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(inside, start, ends), batch_size=200, shuffle=True),
            "val_loader": DataLoader(TensorDataset(grid, grid * torch.tensor([1.0, 0.0]), grid), batch_size=1000)}


WORKS = lambda score: score < 0.06       # relative L2 error

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(200):
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 20 == 19:
            print(f"epoch {epoch + 1} loss {total / len(p['train_loader']):.6f}")
    with torch.no_grad():
        grid = p["val_loader"].dataset.tensors[0]
        score = ((model(grid) - exact(grid)).norm() / exact(grid).norm()).item()
    print(f"score: {score:.4f}")
