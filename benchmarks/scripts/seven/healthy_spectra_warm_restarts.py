"""Healthy: regresses concentrations from spectra with SGD and warm restarts to a large rate; the loss jumps up at each restart and comes down again; no mistake."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

BANDS = 80


def spectra(n, seed):
    rng = np.random.default_rng(seed)
    grid = np.linspace(0, 1, BANDS)
    centres, widths = np.array([0.2, 0.35, 0.55, 0.8]), np.array([0.05, 0.08, 0.04, 0.1])
    pure = np.exp(-((grid - centres[:, None]) ** 2) / (2 * widths[:, None] ** 2))
    c = rng.dirichlet(np.ones(4), n)
    absorbance = 1 - np.exp(-2.5 * (c @ pure))
    absorbance += rng.uniform(0, 0.3, (n, 1)) + rng.uniform(-0.3, 0.3, (n, 1)) * grid + rng.normal(0, 0.01, (n, BANDS))
    return torch.tensor(absorbance, dtype=torch.float32), torch.tensor(c, dtype=torch.float32)


class SpectraNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(1, 16, 9, stride=2, padding=4), nn.ReLU(), nn.Conv1d(16, 24, 9, stride=2, padding=4), nn.ReLU())
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(24 * 20, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, x):
        x = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
        return self.fc(self.conv(x.unsqueeze(1))).softmax(1)


def kl(output, target):
    return (target * ((target + 1e-6).log() - (output + 1e-6).log())).sum(1).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = SpectraNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.4, momentum=0.9)
    loader = DataLoader(TensorDataset(*spectra(2000, 0)), batch_size=50, shuffle=True)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=4 * len(loader), T_mult=2),
        "train_loader": loader,
        "val_loader": DataLoader(TensorDataset(*spectra(500, 1)), batch_size=250),
        "loss_fn": kl,
    }


# the worst R2 of the four substances
WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, scheduler = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(28):  # cycles of 4, 8 and 16 epochs
        losses = []
        for x, c in p["train_loader"]:
            optimizer.zero_grad()
            loss = kl(model(x), c)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1:2d} lr {scheduler.get_last_lr()[0]:.4f} kl {np.mean(losses):.5f}")
    x, c = p["val_loader"].dataset.tensors
    with torch.no_grad():
        r2 = 1 - ((model(x) - c) ** 2).mean(0) / c.var(0)
    print(f"score: {r2.min().item():.4f}")
