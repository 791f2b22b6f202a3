"""Matrix factorisation of ratings; the index of users and items is made separately for the training and the test table (in order of first appearance), so at test every id reads another's embedding; the right change: one index, made from the training table."""
import sys
import random
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def ratings_table():
    rng = np.random.RandomState(0)
    nu, ni = 150, 120
    U, V = rng.randn(nu, 3), rng.randn(ni, 3)
    bu, bi = 0.5 * rng.randn(nu), 0.7 * rng.randn(ni)
    rows = []
    for u in range(nu):
        for i in rng.choice(ni, 70, replace=False):
            rows.append((f"user_{u * 37 % 1009}", f"film_{i * 53 % 997}", 3 + bu[u] + bi[i] + 0.5 * U[u] @ V[i] + 0.1 * rng.randn()))
    random.Random(0).shuffle(rows)
    return rows


def factorize(values):
    index = {}
    for v in values:
        index.setdefault(v, len(index))
    return index


def encode(rows, users, items):
    return TensorDataset(torch.tensor([users[r[0]] for r in rows]), torch.tensor([items[r[1]] for r in rows]),
                         torch.tensor([r[2] for r in rows], dtype=torch.float32))


class MF(nn.Module):
    def __init__(self, nu, ni, k=6):
        super().__init__()
        self.u, self.v = nn.Embedding(nu, k), nn.Embedding(ni, k)
        self.bu, self.bi = nn.Embedding(nu, 1), nn.Embedding(ni, 1)
        self.mean = nn.Parameter(torch.tensor(3.0))
        for e in (self.u, self.v, self.bu, self.bi):
            nn.init.normal_(e.weight, std=0.1)

    def forward(self, u, i):
        return (self.u(u) * self.v(i)).sum(1) + self.bu(u).squeeze(1) + self.bi(i).squeeze(1) + self.mean


def parts(variant):
    torch.manual_seed(0)
    rows = ratings_table()
    train, test = rows[:8500], rows[8500:]
    users, items = factorize(r[0] for r in train), factorize(r[1] for r in train)
    if variant == "bad":
        test_set = encode(test, factorize(r[0] for r in test), factorize(r[1] for r in test))
    else:
        test_set = encode(test, users, items)
    model = MF(len(users), len(items))

    def training_step(model, batch):
        u, i, r = batch
        return nn.functional.mse_loss(model(u, i), r)

    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5), training_step=training_step,
                train_loader=DataLoader(encode(train, users, items), 128, shuffle=True), val_loader=DataLoader(test_set, 512))


WORKS = lambda score: score < 0.5   # squared error over the ratings' variance

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(30):
        tot = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            tot += loss.item()
        if epoch % 6 == 5: print(f"epoch {epoch + 1}: train mse {tot / len(p['train_loader']):.4f}")
    with torch.no_grad():
        e = torch.cat([p["model"](u, i) - r for u, i, r in p["val_loader"]])
        r = torch.cat([b[2] for b in p["val_loader"]])
    print("score:", (e.pow(2).mean() / r.var()).item())
