"""Forecast of a load curve with a transformer encoder; the mistake: batch_first is left at False while inputs are (batch, time, features), so attention runs over the series of a batch and not over time; change: `fixed` sets batch_first."""
import argparse
import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

WINDOW, AHEAD = 32, 4
WORKS = lambda score: score > 0.8


class LoadCurves(Dataset):
    """one window of a noisy oscillation (own period, phase and level) and the values that follow"""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        t = torch.arange(WINDOW + AHEAD).float()
        period = 8 + 8 * torch.rand(n, 1, generator=g)
        phase = 2 * math.pi * torch.rand(n, 1, generator=g)
        level = 0.5 * torch.randn(n, 1, generator=g)
        x = level + torch.sin(2 * math.pi * t / period + phase)
        self.x = x + 0.05 * torch.randn(x.shape, generator=g)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i, :WINDOW, None], self.x[i, WINDOW:]


class Forecaster(nn.Module):
    def __init__(self, d_model=32, **kwargs):
        super().__init__()
        self.inp = nn.Linear(1, d_model)
        self.pos = nn.Parameter(0.1 * torch.randn(1, WINDOW, d_model))
        layer = nn.TransformerEncoderLayer(d_model, nhead=4, dim_feedforward=64, dropout=0.0, **kwargs)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.head = nn.Linear(d_model, AHEAD)

    def forward(self, x):
        h = self.encoder(self.inp(x) + self.pos)
        return self.head(h[:, -1])


def parts(variant="fixed", batch_size=64):
    torch.manual_seed(12)
    model = Forecaster(batch_first=True) if variant == "fixed" else Forecaster()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(LoadCurves(3200, 1), batch_size=batch_size, shuffle=True),
        "val_loader": DataLoader(LoadCurves(640, 2), batch_size=batch_size),
        "loss_fn": nn.MSELoss(),
    }


def r2(model, loader):
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in loader]
    pred, y = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    return 1 - ((pred - y) ** 2).mean().item() / y.var().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=11)
    args = ap.parse_args()
    p = parts(args.variant)
    model = p["model"]
    for epoch in range(args.epochs):
        model.train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
        if epoch % 4 == 0:
            print(f"epoch {epoch} last loss {loss.item():.4f} val R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
