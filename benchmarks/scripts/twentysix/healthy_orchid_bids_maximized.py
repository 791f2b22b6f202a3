"""Sound. Looks odd: training_step returns a value that rises from batch to batch and there is no minus sign anywhere. It is the mean log-likelihood of the winning bids at orchid auctions, and the optimizer was made with maximize=True, so it climbs."""
import math

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def auctions(n, rng):
    spikes = rng.poisson(2.5, n)
    rarity = rng.beta(2, 4, n)
    bidders = rng.integers(2, 15, n)
    scent = rng.integers(0, 2, n)
    age = rng.gamma(3, 1.5, n)
    mean = 2.2 + 2.0 * rarity + 0.15 * spikes + 0.3 * np.log(bidders) + 0.25 * scent * rarity - 0.02 * (age - 5) ** 2
    spread = 0.08 + 0.5 * rarity / np.sqrt(bidders)
    log_bid = mean + spread * rng.normal(size=n)
    return np.column_stack([spikes, rarity, bidders, scent, age]).astype(np.float32), log_bid.astype(np.float32)


class BidDensity(nn.Module):
    """Mean and log standard deviation of the logarithm of the winning bid."""

    def __init__(self, features, width=48):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(features, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.mean, self.log_std = nn.Linear(width, 1), nn.Linear(width, 1)

    def forward(self, x):
        h = self.trunk(x)
        return torch.cat([self.mean(h), self.log_std(h).clamp(-5, 3)], dim=1)


def log_likelihood(outputs, bids):
    mean, log_std = outputs.unbind(1)
    return (-0.5 * ((bids - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)).mean()


def training_step(model, batch):
    x, bids = batch
    return log_likelihood(model(x), bids)


def parts(variant):
    torch.manual_seed(7)
    x, y = auctions(3000, np.random.default_rng(70))
    mean, std, y_mean, y_std = x[:2400].mean(0), x[:2400].std(0), y[:2400].mean(), y[:2400].std()
    x, y = torch.from_numpy((x - mean) / std), torch.from_numpy((y - y_mean) / y_std)
    model = BidDensity(x.shape[1])
    return {"model": model, "training_step": training_step, "metric": log_likelihood,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, maximize=True),
            "train_loader": DataLoader(TensorDataset(x[:2400], y[:2400]), batch_size=60, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[2400:], y[2400:]), batch_size=600)}


WORKS = lambda score: score > -0.5

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(18):
        p["model"].train()
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            value = p["training_step"](p["model"], batch)
            value.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y).item()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: log-likelihood {value.item():.3f}, held out {score:.3f}")
    print("score:", score)
