"""Two-tower recommender (in-batch softmax); the weight-decay group is a generator that a count for the log has used up, so AdamW gets an empty group; change: a list."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

USERS, ITEMS, TASTES = 600, 200, 8


def interactions(seed=0, per_user=14):
    """users have a taste, items a theme; the last two clicks of each user are held out"""
    rng = np.random.RandomState(seed)
    theme, pop = rng.randint(0, TASTES, ITEMS), rng.gamma(1.5, 1.0, ITEMS) + 0.2
    train, test = [], []
    for u in range(USERS):
        like = np.where(theme == rng.randint(TASTES), 12.0, 0.4) * pop
        items = rng.choice(ITEMS, per_user, replace=False, p=like / like.sum())
        train += [(u, i) for i in items[:-2]]
        test += [(u, i) for i in items[-2:]]
    return torch.tensor(train), torch.tensor(test)


class Tower(nn.Module):
    def __init__(self, n, d=32):
        super().__init__()
        self.emb = nn.Embedding(n, d)
        nn.init.normal_(self.emb.weight, std=0.1)
        self.net = nn.Sequential(nn.Linear(d, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, d))

    def forward(self, ids):
        e = self.emb(ids)
        return F.normalize(e + self.net(e), dim=-1)


class TwoTower(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = Tower(USERS), Tower(ITEMS)
        self.bias = nn.Embedding(ITEMS, 1)
        nn.init.zeros_(self.bias.weight)

    def forward(self, u, i):
        return self.user(u) @ self.item(i).t() * 10 + self.bias(i).squeeze(-1)


def configure_optimizer(model, variant):
    named = list(model.named_parameters())
    no_decay = [p for _, p in named if p.ndim < 2]
    if variant == "bad":
        decay = (p for _, p in named if p.ndim >= 2)
    else:
        decay = [p for _, p in named if p.ndim >= 2]
    print(f"with decay: {sum(p.numel() for p in decay):,} parameters, "
          f"without: {sum(p.numel() for p in no_decay):,}")
    return torch.optim.AdamW([{"params": decay, "weight_decay": 0.01},
                              {"params": no_decay, "weight_decay": 0.0}], lr=3e-3)


def parts(variant):
    torch.manual_seed(0)
    model = TwoTower()
    train, _ = interactions()
    pop = torch.bincount(train[:, 1], minlength=ITEMS).float().clamp(min=1)
    log_q = (pop / pop.sum()).log()                     # correction for in-batch negatives

    def training_step(model, batch):
        u, i = batch
        logits = model(u, i) - log_q[i]
        same = (i[None] == i[:, None]) & ~torch.eye(len(i), dtype=torch.bool)
        return F.cross_entropy(logits.masked_fill(same, -1e4), torch.arange(len(u)))

    return {"model": model, "optimizer": configure_optimizer(model, variant),
            "train_loader": DataLoader(TensorDataset(train[:, 0], train[:, 1]), batch_size=128, shuffle=True),
            "training_step": training_step}


WORKS = lambda score: score > 0.38


@torch.no_grad()
def hit_rate(model, k=20):
    train, test = interactions()
    s = model(torch.arange(USERS), torch.arange(ITEMS))
    s[train[:, 0], train[:, 1]] = -1e9
    top = s.topk(k, 1).indices
    return (top[test[:, 0]] == test[:, 1:]).any(1).float().mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    p = parts(ap.parse_args().variant)
    model, opt = p["model"], p["optimizer"]
    print(f"untrained HR@20 {hit_rate(model):.3f}")
    for epoch in range(18):
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.3f} HR@20 {hit_rate(model):.3f}")
    print(f"score: {hit_rate(model):.4f}")
