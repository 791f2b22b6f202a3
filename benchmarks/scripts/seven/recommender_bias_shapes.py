"""Matrix factorisation of ratings with user and item biases; mistake: the dot product is (batch,) while biases and ratings are (batch, 1), so the sum is batch x batch and the factors learn nothing; change: the dot product keeps its dimension."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

N_USERS, N_ITEMS, FACTORS = 300, 200, 8


def ratings_table(n=22000, seed=0):
    """columns: user id, item id, rating"""
    rng = np.random.default_rng(seed)
    p, q = rng.normal(0, 1, (N_USERS, 4)), rng.normal(0, 1, (N_ITEMS, 4))
    bu, bi = rng.normal(0, 0.3, N_USERS), rng.normal(0, 0.3, N_ITEMS)
    u, i = rng.integers(0, N_USERS, n), rng.integers(0, N_ITEMS, n)
    r = 3.2 + bu[u] + bi[i] + 0.5 * (p[u] * q[i]).sum(1) + rng.normal(0, 0.25, n)
    return np.column_stack([u, i, np.clip(r, 0.5, 5.5)])


class BiasedMF(nn.Module):
    def __init__(self, variant, mean):
        super().__init__()
        self.user_factors = nn.Embedding(N_USERS, FACTORS)
        self.item_factors = nn.Embedding(N_ITEMS, FACTORS)
        self.user_bias = nn.Embedding(N_USERS, 1)
        self.item_bias = nn.Embedding(N_ITEMS, 1)
        self.mean = mean
        self.keepdim = variant == "fixed"
        for emb in (self.user_factors, self.item_factors):
            nn.init.normal_(emb.weight, std=0.1)
        for emb in (self.user_bias, self.item_bias):
            nn.init.zeros_(emb.weight)

    def forward(self, pairs):
        user, item = pairs[:, 0], pairs[:, 1]
        dot = (self.user_factors(user) * self.item_factors(item)).sum(1, keepdim=self.keepdim)
        return dot + self.user_bias(user) + self.item_bias(item) + self.mean


def mse(pred, rating):
    return ((pred - rating) ** 2).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    table = torch.from_numpy(ratings_table())
    pairs, rating = table[:, :2].long(), table[:, 2:].float()
    cut = 18000
    model = BiasedMF(variant, rating[:cut].mean().item())
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5),
        "train_loader": DataLoader(TensorDataset(pairs[:cut], rating[:cut]), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(pairs[cut:], rating[cut:]), batch_size=128),
        "loss_fn": mse,
    }


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(20):
        running = []
        for pairs, rating in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(pairs), rating)
            loss.backward()
            p["optimizer"].step()
            running.append(loss.item())
        with torch.no_grad():
            val = np.mean([p["loss_fn"](model(a), b).item() for a, b in p["val_loader"]])
        print(f"epoch {epoch + 1:2d}  train mse {np.mean(running):.4f}  val mse {val:.4f}")
    # explained variance over single held-out (user, item) pairs
    pairs, rating = p["val_loader"].dataset.tensors
    with torch.no_grad():
        single = torch.cat([model(pair[None]).view(1) for pair in pairs[:1500]])
    truth = rating[:1500, 0]
    print(f"score: {1 - ((single - truth) ** 2).mean().item() / truth.var().item():.4f}")
