"""Autoregressive mixture density of points on a thin closed curve; no mistake: the loss goes far below zero because the density is high, and gradients are clipped hard; change: none."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

M = 10
WORKS = lambda score: score < -0.8         # held-out nats a point (a Gaussian gets about +2.5)


def curve(n, seed):
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(n, generator=g) * 2 * math.pi
    r = 1 + 0.3 * torch.cos(3 * a)
    pts = torch.stack([r * torch.cos(a), r * torch.sin(a)], 1)
    return pts + 0.01 * torch.randn(n, 2, generator=g)


class ARMixture(nn.Module):
    """p(x1) p(x2 | x1), both mixtures of Gaussians."""
    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.cat([torch.zeros(M), torch.linspace(-1.3, 1.3, M), torch.full((M,), -2.0)]))
        self.second = nn.Sequential(nn.Linear(1, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 3 * M))

    @staticmethod
    def log_mixture(theta, x):
        w, mu, log_s = theta.chunk(3, -1)
        log_s = log_s.clamp(min=-6)
        comp = -0.5 * ((x - mu) / log_s.exp()) ** 2 - log_s - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(torch.log_softmax(w, -1) + comp, -1)

    def forward(self, x):
        x1, x2 = x[:, :1], x[:, 1:]
        return self.log_mixture(self.first, x1) + self.log_mixture(self.second(4 * x1), x2)


def parts(variant="fixed"):
    torch.manual_seed(0)
    train_loader = DataLoader(TensorDataset(curve(20000, 0)), batch_size=256, shuffle=True)
    val_loader = DataLoader(TensorDataset(curve(2000, 1)), batch_size=1000)
    model = ARMixture()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40 * len(train_loader))

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        loss = -model(batch[0]).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, scheduler=scheduler, train_loader=train_loader,
                val_loader=val_loader, step=step)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](model, batch, p["optimizer"]).item()
            p["scheduler"].step()
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1} nll {total / len(p['train_loader']):.3f}")
    with torch.no_grad():
        print("score:", round(-torch.cat([model(b[0]) for b in p["val_loader"]]).mean().item(), 4))
