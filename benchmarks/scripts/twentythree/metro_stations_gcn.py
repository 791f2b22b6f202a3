"""Two-layer graph convolution written by hand that predicts the kind of a metro station from its own and its neighbours' figures. The columns go in raw (passengers per day in tens of thousands beside entrances and lifts in ones), so the large columns drown the rest; the right change: standardise the columns."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def metro(n=600, seed=3):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 4, n)
    adj = np.zeros((n, n), dtype=np.float32)
    # lines mostly join stations of the same kind
    for i in range(n):
        same = np.flatnonzero(kind == kind[i])
        for j in np.concatenate([rng.choice(same, 2), rng.integers(0, n, 1)]):
            adj[i, j] = adj[j, i] = 1
    np.fill_diagonal(adj, 1)
    d = adj.sum(1) ** -0.5
    adj = d[:, None] * adj * d[None]

    passengers = rng.lognormal(9.8, 0.6, n)            # per day
    opened = rng.integers(1905, 2015, n)               # year
    platform = rng.normal(120, 25, n)                  # metres
    depth = rng.normal(18, 6, n)
    entrances = np.array([2.0, 2.0, 4.0, 4.0])[kind] + rng.normal(0, 1.3, n)
    lifts = np.array([1.0, 2.5, 1.0, 2.5])[kind] + rng.normal(0, 1.0, n)
    x = np.stack([passengers, opened, platform, depth, entrances, lifts], 1)
    return x, adj, kind


class GCN(nn.Module):
    def __init__(self, features, adj, hidden=32, classes=4):
        super().__init__()
        self.register_buffer("x", features)
        self.register_buffer("adj", adj)
        self.lin1 = nn.Linear(features.shape[1], hidden)
        self.lin2 = nn.Linear(hidden, classes)
        self.drop = nn.Dropout(0.2)

    def forward(self, nodes):
        h = F.relu(self.lin1(self.adj @ self.x))
        h = self.drop(h)
        out = self.adj @ self.lin2(h)
        return out[nodes]


def parts(variant):
    torch.manual_seed(0)
    x, adj, kind = metro()
    order = np.random.default_rng(0).permutation(len(x))
    train, val = order[:400], order[400:]
    if variant != "bad":
        x = (x - x[train].mean(0)) / x[train].std(0)
    x = torch.tensor(x, dtype=torch.float32)
    y = torch.tensor(kind)
    model = GCN(x, torch.from_numpy(adj))
    tr, va = torch.from_numpy(train), torch.from_numpy(val)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=5e-4),
            "loss_fn": F.cross_entropy,
            "train_loader": DataLoader(TensorDataset(tr, y[tr]), batch_size=100, shuffle=True),
            "val_loader": DataLoader(TensorDataset(va, y[va]), batch_size=200)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    best = []
    for epoch in range(60):
        net.train()
        for nodes, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(nodes), y)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            for nodes, y in p["val_loader"]:
                acc = (net(nodes).argmax(1) == y).float().mean().item()
        best.append(acc)
        if epoch % 10 == 0:
            print(f"{epoch:3d}  loss {loss.item():.3f}  val {acc:.3f}")
    print("score:", np.mean(best[-10:]))
