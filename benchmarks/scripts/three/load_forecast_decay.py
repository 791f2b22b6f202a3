"""Hourly load, GRU forecast; the exponential decay meant for epochs is applied after every batch; change: the twin applies it after every epoch."""
import math, sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 36


def hourly_load(hours=2400):
    g = torch.Generator().manual_seed(21)
    t = torch.arange(hours).float()
    daily = torch.sin(2 * math.pi * t / 24) + 0.5 * torch.sin(4 * math.pi * t / 24 + 1)
    weekly = 0.6 * ((t // 24) % 7 < 5).float()
    drift = torch.cumsum(torch.randn(hours, generator=g) * 0.05, 0)
    drift = drift - torch.cat([drift[:1].repeat(100), drift[:-100]])
    load = 500 + 120 * (daily + weekly + 0.5 * drift + 0.1 * torch.randn(hours, generator=g))
    return (load - load[:1800].mean()) / load[:1800].std()


def windows(series, lead=3):
    x = series.unfold(0, WINDOW + lead, 1)
    return x[:, :WINDOW].unsqueeze(-1).contiguous(), x[:, -1:].contiguous()


class LoadGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(1, 32, batch_first=True)
        self.head = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        _, h = self.gru(x)
        return self.head(h[-1])


def parts(variant):
    torch.manual_seed(0)
    series = hourly_load()
    model = LoadGRU()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    criterion = nn.MSELoss()

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        if variant == "bad":
            scheduler.step()
        return loss

    p = {"model": model, "optimizer": optimizer, "loss_fn": criterion, "step": step,
         "train_loader": DataLoader(TensorDataset(*windows(series[:1800])), batch_size=40, shuffle=True),
         "val_loader": DataLoader(TensorDataset(*windows(series[1800:])), batch_size=256)}
    if variant != "bad":
        p["scheduler"] = scheduler
    return p


WORKS = lambda score: score > 0.7        # R2


def r2(model, loader):
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in loader]
    out, y = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    return (1 - ((out - y) ** 2).mean() / y.var()).item()


def main(variant):
    p = parts(variant)
    for epoch in range(10):
        p["model"].train()
        total = sum(p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"])
        if "scheduler" in p:
            p["scheduler"].step()
        print(f"epoch {epoch:2d} mse {total / len(p['train_loader']):.4f} val r2 {r2(p['model'], p['val_loader']):.3f}")
    print(f"score: {r2(p['model'], p['val_loader']):.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "bad")
