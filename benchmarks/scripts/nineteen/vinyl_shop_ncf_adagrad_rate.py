"""Ratings of records by customers with embeddings and a small MLP (NCF), trained by Adagrad; bad: lr=1e-4, far too small for Adagrad, whose steps shrink as well; change: lr=5e-2."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

N_CUSTOMERS, N_RECORDS = 200, 150


def load_ratings():
    rng = np.random.default_rng(7)
    u, v = rng.normal(size=(N_CUSTOMERS, 2)), rng.normal(size=(N_RECORDS, 2))
    liked, good = rng.normal(0, 0.5, N_CUSTOMERS), rng.normal(0, 0.8, N_RECORDS)
    c, r = rng.integers(0, N_CUSTOMERS, 14000), rng.integers(0, N_RECORDS, 14000)
    stars = 3 + liked[c] + good[r] + 0.4 * (u[c] * v[r]).sum(1) + rng.normal(0, 0.2, 14000)
    return torch.tensor(np.stack([c, r], 1)), torch.tensor(stars, dtype=torch.float32)


class NCF(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.customers = nn.Embedding(N_CUSTOMERS, dim)
        self.records = nn.Embedding(N_RECORDS, dim)
        self.mlp = nn.Sequential(nn.Linear(2 * dim, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, pairs):
        c, r = self.customers(pairs[:, 0]), self.records(pairs[:, 1])
        return (c * r).sum(1) + self.mlp(torch.cat([c, r], 1))[:, 0]


def parts(variant):
    torch.manual_seed(0)
    pairs, stars = load_ratings()
    model = NCF()
    lr = 1e-4 if variant == "bad" else 5e-2
    return dict(model=model, optimizer=torch.optim.Adagrad(model.parameters(), lr=lr), loss_fn=F.mse_loss,
                train_loader=DataLoader(TensorDataset(pairs[:12000], stars[:12000]), batch_size=128, shuffle=True),
                val_loader=DataLoader(TensorDataset(pairs[12000:], stars[12000:]), batch_size=500))


# share of the variance of unseen ratings that is explained
WORKS = lambda score: score > 0.45

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        losses = []
        for pairs, stars in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(pairs), stars)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch:2d}  mse {np.mean(losses):.3f}")
    with torch.no_grad():
        out = torch.cat([net(a) for a, _ in p["val_loader"]])
        want = torch.cat([b for _, b in p["val_loader"]])
    score = 1 - F.mse_loss(out, want) / want.var()
    print(f"score: {score:.4f}")
