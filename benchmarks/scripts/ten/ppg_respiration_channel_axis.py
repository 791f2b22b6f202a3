"""Breathing curve out of a pulse sensor's (PPG) by a dilated convolution net, AdamW and cosine, Charbonnier loss written by hand; the net gives (N, 1, T) and the reference is (N, T), so each curve is compared with those of all the batch; change: the net drops its channel axis."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

T, RATE = 160, 8.0


def recordings(n, seed):
    g = torch.Generator().manual_seed(seed)
    u = lambda lo, hi: lo + (hi - lo) * torch.rand(n, 1, generator=g)
    t = torch.arange(T) / RATE
    breath = torch.sin(2 * math.pi * (u(0.15, 0.4) * t + u(0, 1)))
    phase = 2 * math.pi * (u(0.9, 1.7) * t + u(0, 1)) + 0.4 * breath
    pulse = torch.sin(phase) + 0.4 * torch.sin(2 * phase + 0.7)
    drift = u(-0.5, 0.5) * t / t[-1]
    ppg = (1 + u(0.15, 0.4) * breath) * pulse + u(0.2, 0.5) * breath + drift + 0.25 * torch.randn(n, T, generator=g)
    ppg = (ppg - ppg.mean(1, keepdim=True)) / ppg.std(1, keepdim=True)
    belt = breath + 0.05 * torch.randn(n, T, generator=g)
    return ppg[:, None], belt


class Residual(nn.Module):
    def __init__(self, width, dilation):
        super().__init__()
        self.conv = nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
        self.norm = nn.GroupNorm(4, width)

    def forward(self, x):
        return x + torch.relu(self.norm(self.conv(x)))


class RespirationNet(nn.Module):
    def __init__(self, width=24, keep_channel=False):
        super().__init__()
        self.stem = nn.Conv1d(1, width, 7, padding=3)
        self.blocks = nn.Sequential(*[Residual(width, d) for d in (1, 2, 4, 8)])
        self.out = nn.Conv1d(width, 1, 1)
        self.keep_channel = keep_channel

    def forward(self, ppg):
        curve = self.out(self.blocks(self.stem(ppg)))
        return curve if self.keep_channel else curve.squeeze(1)


def charbonnier(pred, ref, eps=1e-3):
    return torch.sqrt((pred - ref) ** 2 + eps ** 2).mean()


def r2(pred, ref):
    p, r = pred.reshape(-1, T), ref.reshape(-1, T)
    return (1 - (p - r).square().mean() / r.var()).item()


EPOCHS = 5


def parts(variant):
    torch.manual_seed(0)
    train, val = TensorDataset(*recordings(960, 11)), TensorDataset(*recordings(300, 12))
    model = RespirationNet(keep_channel=variant == "bad")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS),
        "loss_fn": charbonnier,
        "train_loader": DataLoader(train, batch_size=24, shuffle=True),
        "val_loader": DataLoader(val, batch_size=100),
        "metric": r2,
    }


def train_epoch(model, loader, optimizer, loss_fn):
    model.train()
    total = 0.0
    for ppg, belt in loader:
        loss = loss_fn(model(ppg), belt)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        total += loss.item() * len(ppg)
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    out = [(model(ppg), belt) for ppg, belt in loader]
    return r2(torch.cat([o for o, _ in out]), torch.cat([b for _, b in out]))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(EPOCHS):
        loss = train_epoch(p["model"], p["train_loader"], p["optimizer"], p["loss_fn"])
        p["scheduler"].step()
        print(f"[{epoch + 1}/{EPOCHS}] charbonnier {loss:.4f}  R2 {evaluate(p['model'], p['val_loader']):.3f}")
    value = evaluate(p["model"], p["val_loader"])
    print(f"score: {value:.4f}")
