"""Forecasts the waiting time at five kebab stands as quantiles (10, 50, 90 in 100), in seconds, where stands that are closed have no value. Looks odd, is sound: the loss is a pinball in seconds, so it is about a hundred, the net gives its outputs in spreads and turns them into seconds inside, missing values are masked before the sum, and the upper quantiles are made of positive steps. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
STANDS, LEVELS = 5, torch.tensor([0.1, 0.5, 0.9])


def evenings(n, seed):
    """Columns: hour, weekday (7), rain, match in town; waits in seconds, NaN if closed."""
    rng = np.random.default_rng(seed)
    hour, weekday = rng.uniform(16, 26, n), rng.integers(0, 7, n)
    rain, match = rng.gamma(0.7, 2.0, n) * (rng.random(n) < 0.4), rng.random(n) < 0.15
    crowd = 1.2 * np.exp(-((hour - 19) / 1.2) ** 2) + np.exp(-((hour - 24) / 1.0) ** 2) * np.where(weekday >= 4, 1.8, 0.3)
    crowd = (0.3 + crowd) * np.exp(-0.15 * rain) * (1 + 0.7 * match)
    size = np.array([300.0, 420, 500, 650, 260])
    typical = 60 + size * crowd[:, None] * np.where(match[:, None] & (np.arange(STANDS) < 2), 1.3, 1.0)
    waits = typical * np.exp(rng.normal(0, 0.15 + 0.2 * match[:, None], (n, STANDS)))
    closed = rng.random((n, STANDS)) < 0.3
    waits[closed] = np.nan
    x = np.column_stack([(hour - 21) / 3, np.eye(7)[weekday], rain / 2, match])
    return torch.tensor(x, dtype=torch.float32), torch.tensor(waits, dtype=torch.float32)


class QueueNet(nn.Module):
    def __init__(self, centre, spread):
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("spread", spread)
        self.body = nn.Sequential(nn.Linear(10, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU())
        self.middle, self.steps = nn.Linear(96, STANDS), nn.Linear(96, 2 * STANDS)

    def forward(self, x):
        h = self.body(x)
        middle = self.middle(h)
        down, up = F.softplus(self.steps(h)).chunk(2, dim=1)
        q = torch.stack([middle - down, middle, middle + up], dim=2)
        return self.centre[:, None] + self.spread[:, None] * q


def pinball_seconds(pred, waits):
    known = ~torch.isnan(waits)
    diff = torch.where(known, waits, 0.0).unsqueeze(2) - pred
    loss = torch.maximum(LEVELS * diff, (LEVELS - 1) * diff).sum(2)
    return (loss * known).sum() / known.sum().clamp(min=1)


def parts(variant):
    torch.manual_seed(0)
    x, waits = evenings(3000, 15)
    centre = waits.nanmean(0)
    spread = ((waits - centre) ** 2).nanmean(0).sqrt()
    model = QueueNet(centre, spread)
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=6e-3, weight_decay=1e-3),
            "loss_fn": pinball_seconds,
            "train_loader": DataLoader(TensorDataset(x, waits), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*evenings(600, 16)), batch_size=600)}


def skill(model, p):
    """1 - pinball / pinball of the quantiles of all evenings; and the share between the outer two."""
    past = p["train_loader"].dataset.tensors[1]
    constant = torch.nanquantile(past, LEVELS, dim=0).t()
    model.eval()
    with torch.no_grad():
        x, waits = next(iter(p["val_loader"]))
        q = model(x)
        inside = ((waits > q[..., 0]) & (waits < q[..., 2])).sum() / (~waits.isnan()).sum()
        return 1 - (pinball_seconds(q, waits) / pinball_seconds(constant.expand_as(q), waits)).item(), inside.item()


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(30):
        model.train()
        losses = []
        for x, waits in p["train_loader"]:
            loss = p["loss_fn"](model(x), waits)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        score, inside = skill(model, p)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: pinball {np.mean(losses):.1f} s, skill {score:.3f}, {100 * inside:.0f} in 100 inside")
    print("score:", score)
