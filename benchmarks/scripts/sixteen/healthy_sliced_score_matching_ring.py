"""Sliced score matching (Hyvarinen's loss with random directions): learns the gradient of a log-density with a second derivative in the loss, which starts near zero and ends far below it; no target; samples by Langevin steps; sound."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def ring(n):
    a = 2 * math.pi * torch.rand(n)
    r = 1.5 + 0.25 * torch.randn(n)
    return torch.stack([r * a.cos(), r * a.sin()], 1)


class Score(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 64), nn.Softplus(), nn.Linear(64, 64), nn.Softplus(), nn.Linear(64, 2))

    def forward(self, x):
        return self.net(x)


def training_step(model, batch):
    x = batch[0].clone().requires_grad_(True)
    v = torch.randn_like(x)
    s = model(x)
    sv = (s * v).sum()
    jv = torch.autograd.grad(sv, x, create_graph=True)[0]
    return ((jv * v).sum(1) + 0.5 * s.pow(2).sum(1)).mean()


@torch.no_grad()
def langevin(model, n=1000, steps=400, eps=0.01):
    x = torch.randn(n, 2)
    for _ in range(steps):
        x = x + eps * model(x) + math.sqrt(2 * eps) * torch.randn_like(x)
    return x


def parts(variant):
    torch.manual_seed(0)
    model = Score()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(ring(6000)), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(ring(1000)), batch_size=1000)}


WORKS = lambda score: score > 0.85       # share of samples between radius 0.75 and 2.25

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1} loss {total / len(p['train_loader']):.3f}")
    r = langevin(model).norm(dim=1)
    score = ((r > 0.75) & (r < 2.25)).float().mean()
    print(f"mean radius {r.mean():.3f}, spread {r.std():.3f}")
    print(f"score: {score:.4f}")
