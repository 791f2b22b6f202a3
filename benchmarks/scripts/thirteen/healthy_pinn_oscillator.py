"""Sound: physics-informed net for a damped oscillator, u'' + 0.4 u' + 4 u = 0, u(0) = 1, u'(0) = 0, on t in [0, 5]; no labels, the loss is the residual at collocation points plus the initial conditions. Score: R2 against the exact solution."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DAMP, STIFF, T_END = 0.4, 4.0, 5.0


def exact(t):
    w = math.sqrt(STIFF - DAMP ** 2 / 4)
    return torch.exp(-DAMP / 2 * t) * (torch.cos(w * t) + DAMP / (2 * w) * torch.sin(w * t))


class PINN(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(),
                                 nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))

    def forward(self, t):
        return self.net(2 * t / T_END - 1)


def derivative(u, t):
    return torch.autograd.grad(u, t, torch.ones_like(u), create_graph=True)[0]


def training_step(model, batch):
    t = batch[0].clone().requires_grad_(True)
    u = model(t)
    du = derivative(u, t)
    ddu = derivative(du, t)
    residual = (ddu + DAMP * du + STIFF * u).pow(2).mean()
    t0 = torch.zeros(1, 1, requires_grad=True)
    u0 = model(t0)
    start = (u0 - 1).pow(2).sum() + derivative(u0, t0).pow(2).sum()
    return residual + 20 * start


def parts(variant):
    torch.manual_seed(0)
    model = PINN()
    t = T_END * torch.rand(1024, 1)
    tv = torch.linspace(0, T_END, 200).unsqueeze(1)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return {"model": model, "optimizer": opt, "training_step": training_step,
            "scheduler": torch.optim.lr_scheduler.ExponentialLR(opt, 0.985),
            "train_loader": DataLoader(TensorDataset(t), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(tv), batch_size=200)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(150):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        p["scheduler"].step()
        if epoch % 10 == 0 or epoch == 149:
            print(f"epoch {epoch}: loss {total / len(p['train_loader']):.5f}")
    with torch.no_grad():
        t = p["val_loader"].dataset.tensors[0]
        u = exact(t)
        score = (1 - (model(t) - u).pow(2).mean() / u.var()).item()
    print(f"score: {score:.4f}")
