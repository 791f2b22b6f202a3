"""GNN that tells two families of random graphs apart; the collate function does not shift each graph's edge indices by the nodes before it; change: + offset."""
import sys
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader


def motif_graph(rng, label):
    """node colours +-1; label 1: edges join equal colours, label 0: unequal ones"""
    n = rng.randint(12, 24)
    colour = rng.permutation(np.arange(n) % 2)
    iu, ju = np.triu_indices(n, 1)
    same = colour[iu] == colour[ju]
    w = np.where(same == bool(label), 4.0, 1.0)
    pick = rng.choice(len(iu), 2 * n, replace=False, p=w / w.sum())
    edges = np.stack([np.r_[iu[pick], ju[pick]], np.r_[ju[pick], iu[pick]]])
    x = np.stack([colour, 1 - colour, rng.randn(n), rng.randn(n)], 1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(edges), label


def collate(graphs, shift):
    xs, es, bs, ys, offset = [], [], [], [], 0
    for i, (x, e, y) in enumerate(graphs):
        xs.append(x)
        es.append(e + offset if shift else e)
        bs.append(torch.full((len(x),), i))
        ys.append(y)
        offset += len(x)
    return (torch.cat(xs), torch.cat(es, 1), torch.cat(bs), len(graphs)), torch.tensor(ys)


class GIN(nn.Module):
    def __init__(self, d_in=4, d=48, n_layers=2):
        super().__init__()
        self.convs = nn.ModuleList()
        for i in range(n_layers):
            self.convs.append(nn.Sequential(nn.Linear(2 * (d_in if i == 0 else d), d), nn.ReLU(), nn.Linear(d, d)))
        self.head = nn.Linear(d, 2)

    def forward(self, data):
        x, e, batch, n = data
        for conv in self.convs:
            agg = torch.zeros_like(x).index_add_(0, e[1], x[e[0]])
            x = F.relu(conv(torch.cat([x, agg], 1)))
        sums = torch.zeros(n, x.size(1)).index_add_(0, batch, x)
        return self.head(sums / torch.bincount(batch, minlength=n).unsqueeze(1))


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.RandomState(0)
    graphs = [motif_graph(rng, i % 2) for i in range(1200)]
    fn = partial(collate, shift=variant != "bad")
    model = GIN()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-5),
            "train_loader": DataLoader(graphs[:900], batch_size=32, shuffle=True, collate_fn=fn),
            "val_loader": DataLoader(graphs[900:], batch_size=32, collate_fn=fn),
            "loss_fn": nn.CrossEntropyLoss(), "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(38):
        model.train()
        losses = []
        for g, y in p["train_loader"]:
            opt.zero_grad()
            loss = crit(model(g), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            right = [(model(g).argmax(1) == y) for g, y in p["val_loader"]]
        acc = torch.cat(right).float().mean().item()
        if epoch % 5 == 4:
            print(f"{epoch:3d} loss {np.mean(losses):.4f} val acc {acc:.3f}")
    print(f"score: {acc:.4f}")
