"""Fraud detection on an imbalanced table with pos_weight; mistake: pos_weight is positives/negatives (far below 1) so the rare class is weighed down; change: negatives/positives."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def transactions(n, seed):
    rng = np.random.default_rng(seed)
    amount = rng.lognormal(3.0, 1.0, n)
    hour = rng.integers(0, 24, n)
    distance = rng.exponential(20.0, n)
    country = rng.integers(0, 12, n)
    age_days = rng.exponential(400.0, n)
    extra = rng.normal(size=(n, 6))
    risk = (1.3 * (np.log(amount) - 3.0) + 1.6 * ((hour < 5) | (hour > 22)) + 0.05 * (distance - 20)
            + 1.5 * np.isin(country, (3, 8)) - 0.8 * np.log1p(age_days) / 3 + 1.2 * extra[:, 0] * extra[:, 1])
    fraud = risk + rng.normal(0, 0.5, n) > np.quantile(risk, 0.965)
    numeric = np.column_stack([np.log(amount), np.sin(hour * np.pi / 12), np.cos(hour * np.pi / 12),
                               np.log1p(distance), np.log1p(age_days), extra])
    return numeric.astype(np.float32), country.astype(np.int64), fraud.astype(np.float32)


class FraudNet(nn.Module):
    def __init__(self, n_numeric, n_country=12):
        super().__init__()
        self.country = nn.Embedding(n_country, 4)
        self.norm = nn.BatchNorm1d(n_numeric)
        self.layers = nn.Sequential(nn.Linear(n_numeric + 4, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 1))

    def forward(self, numeric, country):
        return self.layers(torch.cat([self.norm(numeric), self.country(country)], dim=1)).squeeze(1)


def parts(variant="fixed"):
    torch.manual_seed(11)
    train = [torch.from_numpy(a) for a in transactions(12000, 0)]
    val = [torch.from_numpy(a) for a in transactions(6000, 1)]
    n_pos = train[2].sum()
    n_neg = len(train[2]) - n_pos
    pos_weight = n_neg / n_pos if variant == "fixed" else n_pos / n_neg
    model = FraudNet(train[0].shape[1])

    def training_step(model, batch):
        numeric, country, fraud = batch
        return F.binary_cross_entropy_with_logits(model(numeric, country), fraud, pos_weight=pos_weight)

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(TensorDataset(*train), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*val), batch_size=1000),
        "training_step": training_step,
    }


WORKS = lambda score: score > 0.75


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        rows = [(model(n, c) > 0, f > 0.5) for n, c, f in loader]
    pred, true = torch.cat([r[0] for r in rows]), torch.cat([r[1] for r in rows])
    accuracy = (pred == true).float().mean().item()
    balanced = 0.5 * (pred[true].float().mean() + (~pred[~true]).float().mean()).item()
    return accuracy, balanced


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed")
    parser.add_argument("--epochs", type=int, default=15)
    args = parser.parse_args()
    p = parts(args.variant)
    for epoch in range(args.epochs):
        p["model"].train()
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        accuracy, balanced = evaluate(p["model"], p["val_loader"])
        print(f"[{epoch + 1:02d}] loss={total / len(p['train_loader']):.4f} val_accuracy={accuracy:.4f}")
    print(f"score: {balanced:.4f}")
