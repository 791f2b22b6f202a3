"""NT-Xent on two crops of each waveform; [B, 2, ...] is flattened so that the views lie side by side, but the loss takes the first half as view one, so unrelated waves are the positives; change: transposes before flattening."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class TwoCrops(Dataset):
    """Each wave has its own timbre (five harmonics); a crop starts anywhere and has its own gain, noise and drift."""

    def __init__(self, n, seed, length=96):
        r = np.random.RandomState(seed)
        self.amp = torch.tensor(r.dirichlet(np.ones(5), n) * 2, dtype=torch.float32)
        self.length = length
        self.k = torch.arange(1, 6)[:, None].float()

    def __len__(self):
        return len(self.amp)

    def crop(self, i):
        s = torch.arange(self.length) / self.length * 2 + torch.rand(1)
        x = (self.amp[i][:, None] * torch.sin(2 * torch.pi * self.k * s)).sum(0)
        drift = torch.randn(1) * torch.linspace(-1, 1, self.length) + torch.randn(1)
        return ((0.5 + torch.rand(1)) * x + drift + 0.1 * torch.randn(self.length)).unsqueeze(0)

    def __getitem__(self, i):
        return torch.stack([self.crop(i), self.crop(i)])


class Encoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(1, 32, 9, stride=2, padding=4), nn.BatchNorm1d(32), nn.ReLU(),
            nn.Conv1d(32, 64, 7, stride=2, padding=3), nn.BatchNorm1d(64), nn.ReLU(),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        )
        self.proj = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, x):
        return F.normalize(self.proj(self.conv(x)), dim=1)


def nt_xent(z, temperature=0.1):
    """z: [2B, D], both views."""
    n = len(z) // 2
    sim = z @ z.t() / temperature
    sim.fill_diagonal_(float("-inf"))
    partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(sim, partner)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Encoder()

    def training_step(model, views):
        if variant != "bad":
            views = views.transpose(0, 1)
        return nt_xent(model(views.flatten(0, 1)))

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-6),
        "train_loader": DataLoader(TwoCrops(2500, 0), batch_size=125, shuffle=True),
        "val_loader": DataLoader(TwoCrops(400, 1), batch_size=400),
        "training_step": training_step,
    }


@torch.no_grad()
def retrieval(model, loader):
    """How often the nearest of 400 held-out crops is the other crop of the same wave."""
    model.eval()
    views = next(iter(loader))
    nearest = (model(views[:, 0]) @ model(views[:, 1]).t()).argmax(1)
    model.train()
    return (nearest == torch.arange(len(views))).float().mean().item()


WORKS = lambda score: score > 0.25

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=25)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    for epoch in range(args.epochs):
        losses = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        if epoch % 4 == 0:
            print(f"epoch {epoch}: nt-xent {np.mean(losses):.3f}  retrieval {retrieval(p['model'], p['val_loader']):.3f}")
    print(f"score: {retrieval(p['model'], p['val_loader']):.4f}")
