"""Fourier neural operator learns the blurred, delayed copy of a periodic signal, AdamW and cosine rate; the spectral weights are drawn by numpy and written nn.Parameter(from_numpy(w)).float(), the cast copy is a plain tensor that no module holds, and only the pointwise layers are trained; change: the cast inside the brackets of nn.Parameter."""
import math
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

GRID, MODES = 64, 10


def operators(n, seed):
    g = torch.Generator().manual_seed(seed)
    k = torch.arange(1, 9).float()
    c = torch.randn(n, 8, dtype=torch.cfloat, generator=g) / k.sqrt()
    t = torch.arange(GRID) * 2 * math.pi / GRID
    wave = lambda amp: torch.einsum("nk,kt->nt", amp, torch.exp(1j * k[:, None] * t)).real
    u = wave(c)
    moved = wave(c * torch.exp(-0.03 * k ** 2 + 1j * k * 0.9))
    y = moved + 0.3 * moved ** 2
    return (u / 1.15)[:, None], ((y - 0.3) / 1.0)[:, None]


class SpectralConv(nn.Module):
    def __init__(self, width, seed, cast_first):
        super().__init__()
        start = np.random.default_rng(seed).uniform(0, 1 / width ** 2, (width, width, MODES, 2))
        if cast_first:
            self.weight = nn.Parameter(torch.from_numpy(start).float())
        else:
            self.weight = nn.Parameter(torch.from_numpy(start)).float()

    def forward(self, x):
        spectrum = torch.fft.rfft(x)
        weight = torch.view_as_complex(self.weight)
        out = torch.zeros_like(spectrum)
        out[..., :MODES] = torch.einsum("bim,iom->bom", spectrum[..., :MODES], weight)
        return torch.fft.irfft(out, n=x.shape[-1])


class FNO(nn.Module):
    def __init__(self, cast_first, width=20, depth=3):
        super().__init__()
        self.lift = nn.Conv1d(1, width, 1)
        self.spectral = nn.ModuleList([SpectralConv(width, i, cast_first) for i in range(depth)])
        self.local = nn.ModuleList([nn.Conv1d(width, width, 1) for _ in range(depth)])
        self.project = nn.Sequential(nn.Conv1d(width, 48, 1), nn.GELU(), nn.Conv1d(48, 1, 1))

    def forward(self, u):
        h = self.lift(u)
        for spectral, local in zip(self.spectral, self.local):
            h = F.gelu(spectral(h) + local(h))
        return self.project(h)


def relative_l2(out, y):
    return ((out - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)).mean()


def parts(variant):
    torch.manual_seed(0)
    model = FNO(cast_first=variant != "bad")
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-4)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=12),
        "loss_fn": relative_l2,
        "train_loader": DataLoader(TensorDataset(*operators(1000, 1)), batch_size=25, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*operators(200, 2)), batch_size=100),
    }


@torch.no_grad()
def score_of(model, loader):
    model.eval()
    return 1 - torch.stack([relative_l2(model(u), y) for u, y in loader]).mean().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for u, y in p["train_loader"]:
            loss = p["loss_fn"](model(u), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        p["scheduler"].step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, 1 - relative error {score_of(model, p['val_loader']):.3f}")
    print(f"score: {score_of(model, p['val_loader']):.4f}")
