"""Continuous normalising flow (FFJORD-like) on a 2-D mixture: the log-density is integrated with RK4 together with the points, the divergence is exact (two autograd calls, create_graph). Unusual: gradients of gradients in the loss; the score is the held-out log-likelihood in nats."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def swirl(n, g):
    """four blobs on a circle with elongated shape"""
    k = torch.randint(0, 4, (n,), generator=g)
    a = k * math.pi / 2
    r = 1.6 + 0.35 * torch.randn(n, generator=g)
    t = 0.12 * torch.randn(n, generator=g) + 0.35 * (r - 1.6)
    return torch.stack([r * torch.cos(a + t), r * torch.sin(a + t)], 1)


class Field(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 2))

    def forward(self, t, x):
        return self.net(torch.cat([x, x.new_full((len(x), 1), t)], 1))

    def with_divergence(self, t, x):
        v = self(t, x)
        div = sum(torch.autograd.grad(v[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(2))
        return v, div


class Flow(nn.Module):
    def __init__(self, steps=6):
        super().__init__()
        self.field, self.steps = Field(), steps

    def forward(self, x):
        """log-density of the data; from data (t=1) to the Gaussian (t=0)"""
        with torch.enable_grad():
            if not x.requires_grad:
                x = x.clone().requires_grad_(True)
            h, logdet = -1.0 / self.steps, 0.0
            for i in range(self.steps):
                t = 1 + i * h
                k1, d1 = self.field.with_divergence(t, x)
                k2, d2 = self.field.with_divergence(t + h / 2, x + h / 2 * k1)
                k3, d3 = self.field.with_divergence(t + h / 2, x + h / 2 * k2)
                k4, d4 = self.field.with_divergence(t + h, x + h * k3)
                x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
                logdet = logdet + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
            base = -0.5 * (x ** 2).sum(1) - math.log(2 * math.pi)
            return base + logdet


def training_step(model, batch):
    return -model(batch[0]).mean()


def parts(variant):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    model = Flow()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(swirl(12800, g)), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(swirl(1000, g)), batch_size=500)}


WORKS = lambda score: score > -1.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=300)
    done = 0
    for epoch in range(3):
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
            sched.step()
            done += 1
            if done % 50 == 0:
                print(f"step {done}: nll {loss.item():.3f}")
    ll = torch.cat([model(b[0]).detach() for b in p["val_loader"]])
    print("score:", ll.mean().item())
