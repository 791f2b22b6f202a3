"""Matrix factorisation of ratings, with a guard that skips a batch whose gradient is not finite; bad: the guard is the wrong way round, so every good batch is skipped and no update is ever made; change: skip only where the norm is not finite."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

USERS, ITEMS, RANK = 120, 80, 4


def ratings(n=6000):
    rng = np.random.default_rng(5)
    u, i = rng.integers(0, USERS, n), rng.integers(0, ITEMS, n)
    taste, trait = rng.standard_normal((USERS, RANK)), rng.standard_normal((ITEMS, RANK))
    mood, fame = 0.5 * rng.standard_normal(USERS), 0.7 * rng.standard_normal(ITEMS)
    r = 3 + mood[u] + fame[i] + 0.4 * (taste[u] * trait[i]).sum(1) + 0.2 * rng.standard_normal(n)
    pairs = torch.tensor(np.stack([u, i], 1))
    return pairs, torch.tensor(np.clip(r, 1, 5), dtype=torch.float32)


class Factors(nn.Module):
    def __init__(self, rank=8):
        super().__init__()
        self.user, self.item = nn.Embedding(USERS, rank), nn.Embedding(ITEMS, rank)
        self.user_bias, self.item_bias = nn.Embedding(USERS, 1), nn.Embedding(ITEMS, 1)
        self.mean = nn.Parameter(torch.zeros(()))
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.1)
        for table in (self.user_bias, self.item_bias):
            nn.init.zeros_(table.weight)

    def forward(self, pairs):
        u, i = pairs[:, 0], pairs[:, 1]
        dot = (self.user(u) * self.item(i)).sum(1)
        return self.mean + dot + self.user_bias(u).squeeze(1) + self.item_bias(i).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    pairs, r = ratings()
    model = Factors()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=1e-4)
    mse = nn.MSELoss()

    def step(model, batch, optimizer):
        pairs, r = batch
        optimizer.zero_grad()
        loss = mse(model(pairs), r)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        skip = torch.isfinite(norm) if variant == "bad" else ~torch.isfinite(norm)
        if skip:
            return loss.detach()
        optimizer.step()
        return loss.detach()

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(pairs[:5000], r[:5000]), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(pairs[5000:], r[5000:]), batch_size=500)}


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: mse {np.mean(losses):.4f}")
    model.eval()
    with torch.no_grad():
        guess = torch.cat([model(pairs) for pairs, _ in p["val_loader"]])
    truth = torch.cat([r for _, r in p["val_loader"]])
    score = 1 - ((guess - truth) ** 2).mean().item() / truth.var().item()
    print(f"score: {score:.4f}")
