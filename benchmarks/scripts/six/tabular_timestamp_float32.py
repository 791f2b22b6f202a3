"""Predicts a pump's pressure from the time and sensors; millisecond timestamps become float32 before the phase is taken; change: the phase is computed in float64."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PERIOD_MS = 60_000          # the pump's cycle


def load_log(n=6000, seed=0):
    """what the csv export holds: epoch milliseconds, two sensors, pressure"""
    rng = np.random.RandomState(seed)
    ts = 1_700_000_000_000 + np.sort(rng.randint(0, 6 * 3600 * 1000, n))
    temp, load = rng.randn(n), rng.rand(n)
    phase = 2 * np.pi * (ts % PERIOD_MS) / PERIOD_MS
    pressure = 3 + (1 + load) * np.sin(phase) + 0.5 * np.cos(2 * phase) + 0.3 * temp + 0.1 * rng.randn(n)
    return ts, temp, load, pressure


class FeatureBuilder:
    def __init__(self, dtype):
        self.dtype = dtype

    def __call__(self, ts, temp, load):
        ts, temp, load = (torch.as_tensor(a).to(self.dtype) for a in (ts, temp, load))
        angle = 2 * torch.pi * torch.remainder(ts, PERIOD_MS) / PERIOD_MS
        day = 2 * torch.pi * torch.remainder(ts, 86_400_000) / 86_400_000
        feats = [angle.sin(), angle.cos(), day.sin(), day.cos(), temp, load]
        return torch.stack(feats, 1).float()


def parts(variant):
    torch.manual_seed(0)
    ts, temp, load, pressure = load_log()
    build = FeatureBuilder(torch.float32 if variant == "bad" else torch.float64)
    X = build(ts, temp, load)
    y = torch.tensor(pressure, dtype=torch.float32).unsqueeze(1)
    y = (y - y.mean()) / y.std()
    perm = torch.randperm(len(X))
    tr, va = perm[:4800], perm[4800:]
    mu, sd = X[tr].mean(0), X[tr].std(0)
    X = (X - mu) / (sd + 1e-6)
    net = nn.Sequential(nn.Linear(6, 64), nn.SiLU(), nn.Dropout(0.05), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    opt = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-3)
    return {"model": net, "optimizer": opt, "loss_fn": nn.HuberLoss(),
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=75 * 44),
            "train_loader": DataLoader(TensorDataset(X[tr], y[tr]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[va], y[va]), batch_size=400),
            "metric": lambda out, t: 1 - ((out - t) ** 2).mean() / t.var()}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, sched, loss_fn = (p[k] for k in ("model", "optimizer", "scheduler", "loss_fn"))
    for epoch in range(44):
        net.train()
        epoch_loss = 0.0
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(net(xb), yb)
            loss.backward()
            opt.step()
            sched.step()
            epoch_loss += loss.item() / 75
        net.eval()
        with torch.no_grad():
            pred = torch.cat([net(xb) for xb, _ in p["val_loader"]])
            true = torch.cat([yb for _, yb in p["val_loader"]])
        r2 = (1 - ((pred - true) ** 2).mean() / true.var()).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: train huber {epoch_loss:.4f}, val R2 {r2:.3f}")
    print(f"score: {r2:.4f}")
