"""Weibull accelerated-failure net for lift bearings of which three in four never failed while watched: times are in hours (thousands), the net gives log scale and log shape, rows are drawn with replacement; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler


def bearings(n=4000, seed=18):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 7))
    scale = 9000 * np.exp(0.7 * x[:, 0] - 0.5 * x[:, 1] + 0.3 * np.tanh(2 * x[:, 2]))
    t = scale * rng.weibull(1.8, n)
    watched = rng.uniform(500, 6500, n)
    hours, failed = np.minimum(t, watched), t <= watched
    return (torch.tensor(x, dtype=torch.float32),
            torch.tensor(np.stack([hours, failed], 1), dtype=torch.float32), t)


class Weibull(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(7, 48), nn.GELU(), nn.Linear(48, 24), nn.GELU())
        self.log_scale, self.log_shape = nn.Linear(24, 1), nn.Parameter(torch.zeros(1))
        nn.init.zeros_(self.log_scale.weight)
        nn.init.constant_(self.log_scale.bias, 8.5)

    def forward(self, x):
        s = self.log_scale(self.body(x))[:, 0]
        return torch.stack([s, self.log_shape.expand_as(s)], 1)


def weibull_nll(out, target):
    log_scale, log_shape = out.unbind(1)
    hours, failed = target.unbind(1)
    k = log_shape.exp()
    r = hours.log() - log_scale
    log_hazard = log_shape + (k - 1) * r - log_scale + 8.5
    return (torch.exp(k * r) - failed * log_hazard).mean()


def parts(variant):
    torch.manual_seed(0)
    x, y, _ = bearings()
    model = Weibull()
    sampler = WeightedRandomSampler(torch.ones(3200), 3200, replacement=True)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3), "loss_fn": weibull_nll,
            "train_loader": DataLoader(TensorDataset(x[:3200], y[:3200]), batch_size=64, sampler=sampler),
            "val_loader": DataLoader(TensorDataset(x[3200:], y[3200:]), batch_size=800)}


WORKS = lambda score: score > 0.75      # correlation of predicted log scale with the true log lifetime's cause

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    print(f"failed: {p['train_loader'].dataset.tensors[1][:, 1].mean():.2f}")
    for epoch in range(15):
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} nll {total / len(p['train_loader']):.4f} shape {model.log_shape.exp().item():.2f}")
    with torch.no_grad():
        x, _ = next(iter(p["val_loader"]))
        got = model(x)[:, 0].numpy()
    x = x.numpy()
    cause = 0.7 * x[:, 0] - 0.5 * x[:, 1] + 0.3 * np.tanh(2 * x[:, 2])
    print(f"score: {np.corrcoef(got, cause)[0, 1]:.4f}")
