"""Transformer encoder that forecasts the next value of noisy waves of unknown frequency and phase from (batch, time, 1) windows; bad: TransformerEncoderLayer without batch_first, so attention runs along the batch; change: batch_first=True."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def windows(n, steps, seed):
    g = torch.Generator().manual_seed(seed)
    omega = 0.5 + torch.rand(n, 1, generator=g)
    phase = 2 * math.pi * torch.rand(n, 1, generator=g)
    t = torch.arange(steps + 1).float()
    s = torch.sin(omega * t + phase) + 0.05 * torch.randn(n, steps + 1, generator=g)
    return s[:, :-1, None], s[:, -1:]


class Forecaster(nn.Module):
    def __init__(self, steps=24, d_model=32, nhead=4, layers=2, **kw):
        super().__init__()
        self.inp = nn.Linear(1, d_model)
        self.pos = nn.Parameter(0.1 * torch.randn(1, steps, d_model))
        layer = nn.TransformerEncoderLayer(d_model, nhead, dim_feedforward=64, dropout=0.0, **kw)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.out = nn.Linear(d_model, 1)

    def forward(self, x):
        h = self.encoder(self.inp(x) + self.pos)
        return self.out(h[:, -1])


def parts(variant):
    torch.manual_seed(0)
    kw = {} if variant == "bad" else {"batch_first": True}
    model = Forecaster(**kw)
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*windows(3000, 24, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*windows(500, 24, 2)), batch_size=50),
    }


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        run = 0.0
        for xb, yb in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = crit(model(xb), yb)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            run += loss.item() * len(xb)
        model.eval()
        with torch.no_grad():
            pred = torch.cat([model(xb) for xb, _ in p["val_loader"]])
            true = torch.cat([yb for _, yb in p["val_loader"]])
        score = 1 - ((pred - true) ** 2).mean().item() / true.var().item()
        print(f"epoch {epoch:2d}  train mse {run / 3000:.4f}  val r2 {score:.4f}")
    print(f"score: {score:.4f}")
