"""Healthy: implicit feedback with BPR, negatives drawn anew each step; the loss lingers at 0.693 first since the factors start tiny; no mistake."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

USERS, ITEMS, GENRES = 400, 240, 6


def clicks(seed=0, per_user=24):
    """Users click mostly in two genres; the last click of each is kept for the test."""
    rng = np.random.default_rng(seed)
    genre = rng.integers(0, GENRES, ITEMS)
    train, test = [], []
    for u in range(USERS):
        liked = rng.choice(GENRES, 2, replace=False)
        weight = np.where(np.isin(genre, liked), 1.0, 0.02)
        items = rng.choice(ITEMS, per_user, replace=False, p=weight / weight.sum())
        train += [(u, i) for i in items[:-1]]
        test.append((u, items[-1]))
    return torch.tensor(train), torch.tensor(test)


class BPRMF(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.user = nn.Embedding(USERS, dim)
        self.item = nn.Embedding(ITEMS, dim)
        nn.init.normal_(self.user.weight, std=0.01)
        nn.init.normal_(self.item.weight, std=0.01)

    def forward(self, users, items):
        return (self.user(users) * self.item(items)).sum(-1)


def training_step(model, batch):
    users, positive = batch[0][:, 0], batch[0][:, 1]
    negative = torch.randint(0, ITEMS, positive.shape)
    margin = model(users, positive) - model(users, negative)
    reg = sum(e.pow(2).sum() for e in (model.user(users), model.item(positive), model.item(negative))) / len(users)
    return -F.logsigmoid(margin).mean() + 1e-3 * reg


def parts(variant="fixed"):
    torch.manual_seed(0)
    train, test = clicks()
    model = BPRMF()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(TensorDataset(train), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(test), batch_size=128),
        "training_step": training_step,
    }


def auc(model, seen, test):
    """Share of unclicked items ranked below each user's held-out click."""
    with torch.no_grad():
        scores = model.user.weight @ model.item.weight.T
    held = scores[test[:, 0], test[:, 1]][:, None]
    mask = torch.ones_like(scores, dtype=torch.bool)
    mask[seen[:, 0], seen[:, 1]] = False
    mask[test[:, 0], test[:, 1]] = False
    return (((scores < held) & mask).sum(1) / mask.sum(1)).mean().item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    test = p["val_loader"].dataset.tensors[0]
    for epoch in range(40):
        losses = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        if (epoch + 1) % 4 == 0:
            print(f"epoch {epoch + 1}: bpr {np.mean(losses):.4f} held-out AUC {auc(model, p['train_loader'].dataset.tensors[0], test):.4f}")
    print(f"score: {auc(model, p['train_loader'].dataset.tensors[0], test):.4f}")
