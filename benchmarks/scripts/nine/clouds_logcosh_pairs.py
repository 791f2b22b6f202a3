"""Elongation of a point cloud by a deep set, trained with a hand-written log-cosh loss; the net gives (N, 1) and the targets are (N,), so that every output is drawn to every target of the batch; change: the head's last axis is squeezed."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def clouds(n, seed, points=48):
    g = torch.Generator().manual_seed(seed)
    stretch = torch.rand(n, generator=g) * 1.4                       # log of long axis over short axis
    p = torch.randn(n, points, 3, generator=g)
    p[:, :, 0] *= stretch.exp().unsqueeze(1)
    q, _ = torch.linalg.qr(torch.randn(n, 3, 3, generator=g))        # seen from any side
    p = p @ q
    p = p - p.mean(1, keepdim=True)
    return p / 1.8, (stretch - 0.7) / 0.404


class DeepSet(nn.Module):
    def __init__(self, squeeze):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.rho = nn.Sequential(nn.Linear(128, 64), nn.SiLU(), nn.Linear(64, 1))
        self.squeeze = squeeze

    def forward(self, p):
        h = self.phi(p)
        out = self.rho(torch.cat([h.mean(1), h.amax(1)], dim=1))
        return out.squeeze(1) if self.squeeze else out


def log_cosh(pred, target):
    d = pred - target
    return (d + F.softplus(-2 * d) - math.log(2)).mean()


def r2(pred, target):
    pred = pred.reshape(-1)
    return (1 - ((pred - target) ** 2).mean() / target.var(unbiased=False)).item()


def parts(variant):
    torch.manual_seed(0)
    model = DeepSet(squeeze=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.RAdam(model.parameters(), lr=2e-3),
        "loss_fn": log_cosh,
        "metric": r2,
        "train_loader": DataLoader(TensorDataset(*clouds(2500, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*clouds(500, 2)), batch_size=500),
    }


WORKS = lambda score: score > 0.6


def fit(p, epochs):
    model, opt = p["model"], p["optimizer"]
    for epoch in range(1, epochs + 1):
        model.train()
        running = 0.0
        for cloud, target in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(cloud), target)
            loss.backward()
            opt.step()
            running += loss.item() * len(cloud)
        model.eval()
        with torch.no_grad():
            (cloud, target), = list(p["val_loader"])
            value = p["metric"](model(cloud), target)
        print(f"epoch {epoch}: train {running / 2500:.4f}  R2 {value:.3f}")
    return value


if __name__ == "__main__":
    torch.set_num_threads(1)
    value = fit(parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"), 20)
    print(f"score: {value:.4f}")
