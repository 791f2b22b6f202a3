"""Forecasting with a bidirectional GRU; h_n of shape (2, batch, hidden) is flattened by view(batch, -1), so rows of different series meet; change: transposed first."""
import argparse
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def series(n, seed, steps=24):
    """Noisy waves of several speeds; the target is the mean of the next three values."""
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(steps + 3).float()
    speed = 0.15 + 0.5 * torch.rand(n, 1, generator=g)
    phase = 2 * math.pi * torch.rand(n, 1, generator=g)
    height = 0.5 + torch.rand(n, 1, generator=g)
    y = height * torch.sin(speed * t + phase)
    x = y[:, :steps] + 0.05 * torch.randn(n, steps, generator=g)
    return TensorDataset(x.unsqueeze(-1), y[:, steps:].mean(1, keepdim=True))


class Forecaster(nn.Module):
    def __init__(self, hidden=48, merge="view"):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Sequential(nn.Linear(2 * hidden, 32), nn.ReLU(), nn.Linear(32, 1))
        self.merge = merge

    def forward(self, x):
        _, h = self.gru(x)
        if self.merge == "view":
            h = h.view(x.size(0), -1)
        else:
            h = h.transpose(0, 1).reshape(x.size(0), -1)
        return self.fc(h)


def parts(variant):
    torch.manual_seed(0)
    net = Forecaster(merge="view" if variant == "bad" else "transpose")
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    return {"model": net, "optimizer": opt, "loss_fn": nn.MSELoss(), "scheduler": torch.optim.lr_scheduler.ExponentialLR(opt, 0.9),
            "train_loader": DataLoader(series(2000, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(series(400, 2), batch_size=40)}


WORKS = lambda score: score > 0.7


def r2(net, loader):
    net.eval()
    with torch.no_grad():
        pairs = [(net(x), y) for x, y in loader]
    out, y = (torch.cat(v) for v in zip(*pairs))
    return (1 - ((out - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()).item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="bad")
    ap.add_argument("--epochs", type=int, default=15)
    args = ap.parse_args()
    p = parts(args.variant)
    net, opt, sched, mse = p["model"], p["optimizer"], p["scheduler"], p["loss_fn"]
    for epoch in range(1, args.epochs + 1):
        net.train()
        total, seen = 0.0, 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = mse(net(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
            total += loss.item() * len(x)
            seen += len(x)
        sched.step()
        print(f"epoch {epoch:2d} mse {total / seen:.4f} val r2 {r2(net, p['val_loader']):.3f} lr {sched.get_last_lr()[0]:.5f}")
    print(f"score: {r2(net, p['val_loader']):.4f}")
