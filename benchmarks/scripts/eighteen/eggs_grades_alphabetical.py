"""Ordinal grades of eggs (poor < fair < good < fine < superb), one score with four learned cut points; LabelEncoder numbers the grades by the alphabet, so the order that the model relies on is wrong. change: the grades are numbered in their own order."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.preprocessing import LabelEncoder
from torch.utils.data import DataLoader, TensorDataset

GRADES = ["poor", "fair", "good", "fine", "superb"]


def farm_records(n=2500):
    rng = np.random.default_rng(14)
    X = rng.normal(size=(n, 8))
    quality = X @ np.array([1.2, -0.8, 0.6, 0, 0.9, 0, -0.5, 0.3]) + rng.logistic(0, 0.25, n)
    cut = np.quantile(quality, [0.2, 0.4, 0.6, 0.8])
    return X, np.array(GRADES)[np.searchsorted(cut, quality)]


class ProportionalOdds(nn.Module):
    def __init__(self, features, levels):
        super().__init__()
        self.score = nn.Linear(features, 1, bias=False)
        self.first = nn.Parameter(torch.tensor(-1.5))
        self.gaps = nn.Parameter(torch.zeros(levels - 2))

    def forward(self, x):
        cuts = torch.cat([self.first[None], self.first + F.softplus(self.gaps).cumsum(0)])
        return self.score(x) - cuts


def ordinal_loss(logits, y):
    above = (y[:, None] > torch.arange(logits.shape[1])).float()
    return F.binary_cross_entropy_with_logits(logits, above)


def parts(variant):
    torch.manual_seed(0)
    X, names = farm_records()
    if variant == "bad":
        y = LabelEncoder().fit_transform(names)
    else:
        y = np.array([GRADES.index(name) for name in names])
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    model = ProportionalOdds(8, 5)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.02), "loss_fn": ordinal_loss,
            "train_loader": DataLoader(TensorDataset(X[:2000], y[:2000]), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[2000:], y[2000:]), batch_size=100)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(30):
        total = 0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    with torch.no_grad():
        hits = [((model(x) > 0).sum(1) == y).float() for x, y in p["val_loader"]]
    print(f"score: {torch.cat(hits).mean().item():.4f}")
