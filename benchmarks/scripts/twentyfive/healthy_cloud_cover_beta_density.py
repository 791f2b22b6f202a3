"""Predicts the share of sky covered by cloud (between 0 and 1) with a Beta density. What could look odd: the loss is below zero from early on and keeps falling. Why it is right: it is a negative log density, and a density over (0, 1) may well exceed one. The score is the mean held-out log density less that of one Beta fitted to all."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Beta
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def observe(n, gen):
    humidity = torch.rand(n, generator=gen)
    pressure = torch.randn(n, generator=gen)
    season = 6.283 * torch.rand(n, generator=gen)
    wind = torch.randn(n, generator=gen).abs()
    score = 4 * (humidity - 0.5) - 0.9 * pressure + 0.6 * season.cos() + 0.4 * wind * (humidity > 0.6)
    mean = torch.sigmoid(1.3 * score)
    sharp = 6 + 25 * humidity
    torch.manual_seed(int(1e6 * humidity[0].item()))
    cover = Beta(mean * sharp, (1 - mean) * sharp).sample().clamp(0.005, 0.995)
    x = torch.stack([humidity * 2 - 1, pressure, season.sin(), season.cos(), wind - 0.8], dim=1)
    return x, cover


class CloudNet(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(5, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU())
        self.mean, self.sharpness = nn.Linear(hidden, 1), nn.Linear(hidden, 1)

    def forward(self, x):
        h = self.trunk(x)
        mean = torch.sigmoid(self.mean(h)).squeeze(1).clamp(1e-3, 1 - 1e-3)
        sharp = 1 + F.softplus(self.sharpness(h)).squeeze(1) * 5
        return torch.stack([mean * sharp, (1 - mean) * sharp], dim=1)


def density_loss(ab, cover):
    return -Beta(ab[:, 0], ab[:, 1]).log_prob(cover).mean()


def one_for_all(cover):
    m, v = cover.mean(), cover.var()
    k = m * (1 - m) / v - 1
    return Beta(m * k, (1 - m) * k)


def parts(variant):
    gen = torch.Generator().manual_seed(190)
    train, val = observe(3000, gen), observe(700, gen)
    torch.manual_seed(19)
    model = CloudNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": density_loss,
            "train_loader": DataLoader(TensorDataset(*train), batch_size=75, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*val), batch_size=700),
            "metric": lambda ab, cover: -density_loss(ab, cover).item()}


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(9):
        total = 0.0
        for x, cover in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), cover)
            p["optimizer"].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 5.0)
            p["optimizer"].step()
            total += loss.item() / len(p["train_loader"])
        if epoch % 2 == 0:
            print(f"epoch {epoch}: loss {total:.3f}")
    baseline = one_for_all(p["train_loader"].dataset.tensors[1])
    with torch.no_grad():
        x, cover = next(iter(p["val_loader"]))
        score = p["metric"](p["model"](x), cover) - baseline.log_prob(cover).mean().item()
    print("score:", score)
