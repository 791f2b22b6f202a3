"""Rare frauds in a table of payments; pos_weight is positives / negatives; change: the fixed twin uses negatives / positives."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def payments(n, seed):
    rng = np.random.RandomState(seed)
    fraud = (rng.rand(n) < 0.04).astype(np.float32)
    amount = np.exp(rng.normal(3.0, 0.8, n) + 0.7 * fraud)
    hour = (rng.normal(14, 4, n) - 6 * fraud * rng.rand(n)) % 24
    distance = rng.gamma(2.0, 10.0, n) * (1 + 1.2 * fraud)
    age = rng.exponential(300, n) * (1 - 0.4 * fraud)
    tries = rng.poisson(1.0 + 1.0 * fraud, n)
    rest = rng.normal(size=(n, 5))
    rest[:, 0] += 0.8 * fraud
    rest[:, 1] -= 0.6 * fraud
    X = np.column_stack([np.log(amount), np.sin(hour / 24 * 2 * np.pi), np.cos(hour / 24 * 2 * np.pi), np.log1p(distance), np.log1p(age), tries, rest])
    return X.astype(np.float32), fraud[:, None]


def parts(variant):
    torch.manual_seed(0)
    X, y = payments(5000, 1)
    Xv, yv = payments(2500, 2)
    mean, std = X.mean(0), X.std(0)
    X, Xv = (X - mean) / std, (Xv - mean) / std
    n_pos, n_neg = y.sum(), (1 - y).sum()
    ratio = n_pos / n_neg if variant == "bad" else n_neg / n_pos
    model = nn.Sequential(nn.Linear(X.shape[1], 32), nn.GELU(), nn.Dropout(0.2), nn.Linear(32, 16), nn.GELU(), nn.Linear(16, 1))
    to_set = lambda a, b: TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(b))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4),
        "loss_fn": nn.BCEWithLogitsLoss(pos_weight=torch.tensor([float(ratio)])),
        "train_loader": DataLoader(to_set(X, y), batch_size=100, shuffle=True),
        "val_loader": DataLoader(to_set(Xv, yv), batch_size=500),
    }


WORKS = lambda score: score > 0.7   # balanced accuracy


class Trainer:
    def __init__(self, model, optimizer, loss_fn, train_loader, val_loader):
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.train_loader, self.val_loader = train_loader, val_loader

    def fit(self, epochs):
        for epoch in range(1, epochs + 1):
            self.model.train()
            losses = [self.batch(x, y) for x, y in self.train_loader]
            value = self.validate()
            print(f"epoch {epoch:2d} | loss {np.mean(losses):.4f} | balanced accuracy {value:.4f}")
        return value

    def batch(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss_fn(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        pred = torch.cat([self.model(x) > 0 for x, _ in self.val_loader])
        true = torch.cat([y > 0.5 for _, y in self.val_loader])
        return 0.5 * ((pred & true).sum() / true.sum() + (~pred & ~true).sum() / (~true).sum()).item()


if __name__ == "__main__":
    score = Trainer(**parts(sys.argv[1] if len(sys.argv) > 1 else "bad")).fit(15)
    print(f"score: {score:.4f}")
