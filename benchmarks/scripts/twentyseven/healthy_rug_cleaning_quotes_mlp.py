"""Tabular regression: the price of cleaning a rug from its size, pile, age, fibre, stains and pick-up distance. Nothing odd: embeddings for the categories, standardised numbers and log price, Adagrad; held-out R2 of the log price."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


@dataclass
class Config:
    rows: int = 3500
    batch: int = 64
    hidden: int = 64
    lr: float = 0.03
    epochs: int = 8


CFG = Config()
FIBRES, STAINS = 6, 4


def quotes(rng, n):
    area = rng.gamma(3, 2, n) + 0.5
    pile = rng.uniform(2, 30, n)
    age = rng.exponential(12, n)
    km = rng.uniform(0, 40, n)
    fibre, stain = rng.integers(0, FIBRES, n), rng.choice(STAINS, n, p=[0.5, 0.25, 0.15, 0.1])
    per_m2 = np.array([9, 11, 14, 24, 18, 12])[fibre] * (1 + 0.015 * pile)
    price = area * per_m2 * np.array([1, 1.15, 1.4, 1.8])[stain] * (1 + 0.2 * (age > 20)) + 0.8 * km
    price *= np.exp(0.12 * rng.standard_normal(n))
    return np.stack([np.log(area), pile, np.log1p(age), km], 1), np.stack([fibre, stain], 1), np.log(price)


class QuoteNet(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.fibre, self.stain = nn.Embedding(FIBRES, 4), nn.Embedding(STAINS, 3)
        self.net = nn.Sequential(nn.Linear(4 + 4 + 3, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, inputs):
        numbers, codes = inputs[:, :4], inputs[:, 4:].long()
        x = torch.cat([numbers, self.fibre(codes[:, 0]), self.stain(codes[:, 1])], 1)
        return self.net(x).squeeze(1)


def r2(pred, target):
    return 1 - ((pred - target) ** 2).sum().item() / ((target - target.mean()) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(13)
    numbers, codes, price = quotes(np.random.default_rng(4), CFG.rows)
    cut = int(0.8 * CFG.rows)
    numbers = (numbers - numbers[:cut].mean(0)) / numbers[:cut].std(0)
    target = (price - price[:cut].mean()) / price[:cut].std()
    x = torch.tensor(np.concatenate([numbers, codes], 1), dtype=torch.float32)
    y = torch.tensor(target, dtype=torch.float32)
    model = QuoteNet(CFG.hidden)
    return {"model": model, "optimizer": torch.optim.Adagrad(model.parameters(), lr=CFG.lr), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=CFG.batch, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[cut:], y[cut:]), batch_size=CFG.rows), "metric": r2}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(CFG.epochs):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y)
        print(f"epoch {epoch:2d}: last batch {loss.item():.3f} held-out R2 {score:.3f}")
    print("score:", score)
