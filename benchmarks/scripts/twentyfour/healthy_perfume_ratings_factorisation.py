"""Matrix factorisation with biases of the ratings that visitors gave to perfumes. A sound program: small random tables for both sides, a global mean, Adam with a little weight decay, and a validation part of other ratings of the same visitors. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.set_num_threads(1)
VISITORS, PERFUMES, RANK = 240, 120, 3


def make_ratings(seed=9):
    rng = np.random.default_rng(seed)
    noses, notes = rng.normal(0, 0.8, (VISITORS, RANK)), rng.normal(0, 0.8, (PERFUMES, RANK))
    mild, liked = rng.normal(0, 0.4, VISITORS), rng.normal(0, 0.5, PERFUMES)
    seen = rng.random((VISITORS, PERFUMES)) < 0.5
    u, i = np.nonzero(seen)
    r = 5.5 + mild[u] + liked[i] + (noses[u] * notes[i]).sum(1) + rng.normal(0, 0.35, len(u))
    return torch.tensor(u), torch.tensor(i), torch.tensor(np.clip(r, 1, 10), dtype=torch.float32)


class Factorisation(nn.Module):
    def __init__(self, mean, k=6):
        super().__init__()
        self.visitor, self.perfume = nn.Embedding(VISITORS, k), nn.Embedding(PERFUMES, k)
        self.visitor_bias, self.perfume_bias = nn.Embedding(VISITORS, 1), nn.Embedding(PERFUMES, 1)
        for table in (self.visitor, self.perfume):
            nn.init.normal_(table.weight, std=0.1)
        for table in (self.visitor_bias, self.perfume_bias):
            nn.init.zeros_(table.weight)
        self.register_buffer("mean", torch.tensor(float(mean)))

    def forward(self, pair):
        u, i = pair[:, 0], pair[:, 1]
        taste = (self.visitor(u) * self.perfume(i)).sum(1)
        return self.mean + self.visitor_bias(u).squeeze(1) + self.perfume_bias(i).squeeze(1) + taste


def rmse(pred, y):
    return ((pred - y) ** 2).mean().sqrt().item()


def parts(variant):
    torch.manual_seed(0)
    u, i, r = make_ratings()
    data = TensorDataset(torch.stack([u, i], 1), r)
    n_val = len(data) // 10
    train, val = random_split(data, [len(data) - n_val, n_val], generator=torch.Generator().manual_seed(4))
    model = Factorisation(r[train.indices].mean())
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-4),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(train, batch_size=128, shuffle=True),
        "val_loader": DataLoader(val, batch_size=500),
        "metric": rmse,
    }


WORKS = lambda score: score < 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    best = None
    for epoch in range(14):
        model.train()
        squared = count = 0
        for pair, rating in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(pair), rating)
            loss.backward()
            optimizer.step()
            squared += loss.item() * len(rating)
            count += len(rating)
        model.eval()
        with torch.no_grad():
            outs = torch.cat([model(pair) for pair, _ in p["val_loader"]])
            truth = torch.cat([rating for _, rating in p["val_loader"]])
        score = p["metric"](outs, truth)
        print(f"epoch {epoch:2d} | train rmse {(squared / count) ** 0.5:.3f} | val rmse {score:.3f}")
    print("score:", score)
