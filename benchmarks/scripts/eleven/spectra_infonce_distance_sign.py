"""Two scans of one compound brought together by InfoNCE over distances, SGD with momentum; the distances are given as logits as they are, without the minus, so the own partner is to be the farthest of all; change: minus the distance."""
import math
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

BINS, TEMPERATURE = 96, 0.1


def scans(n, seed):
    rng = np.random.default_rng(seed)
    axis = np.arange(BINS)
    peaks = rng.uniform(6, BINS - 6, (n, 5))
    height = rng.uniform(0.5, 1.5, (n, 5))

    def scan():
        centre = peaks + rng.normal(0, 0.3, (n, 1))
        s = (height[..., None] * np.exp(-0.5 * ((axis - centre[..., None]) / 1.5) ** 2)).sum(1)
        phase = rng.uniform(0, 6.28, (n, 3, 1))
        waves = np.sin(2 * np.pi * axis / BINS * np.array([0.5, 1.0, 2.0])[None, :, None] + phase)
        s = s + (rng.normal(0, 1.5, (n, 3, 1)) * waves).sum(1) + rng.normal(0, 0.2, (n, BINS))
        return torch.tensor(((s - 0.2) / 1.9)[:, None], dtype=torch.float32)

    return TensorDataset(scan(), scan())


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(1, 16, 7, padding=3), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(2))
        self.project = nn.Sequential(nn.Flatten(), nn.Linear(32 * BINS // 4, 64))

    def forward(self, x):
        return F.normalize(self.project(self.conv(x)), dim=1)


class PairLoss:
    def __init__(self, sign):
        self.sign = sign

    def __call__(self, model, batch):
        first, second = batch
        a, b = model(first), model(second)
        logits = self.sign * torch.cdist(a, b) / TEMPERATURE
        same = torch.arange(len(a))
        return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


def parts(variant):
    torch.manual_seed(0)
    model = Encoder()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4),
        "train_loader": DataLoader(scans(3000, 1), batch_size=100, shuffle=True, drop_last=True),
        "val_loader": DataLoader(scans(400, 2), batch_size=400),
        "training_step": PairLoss(1 if variant == "bad" else -1),
    }


WORKS = lambda score: score > 0.75


def found(model, loader):
    """of 400 held-out compounds: how many second scans have their own first scan as the nearest"""
    model.eval()
    with torch.no_grad():
        a, b = next(iter(loader))
        hit = (model(b) @ model(a).T).argmax(1) == torch.arange(len(a))
    model.train()
    return hit.float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    print(f"chance: {math.log(100):.3f}")
    for epoch in range(8):
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, found {found(model, p['val_loader']):.3f}")
    print(f"score: {found(model, p['val_loader']):.4f}")
