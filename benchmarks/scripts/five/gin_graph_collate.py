"""GIN that tells homophilous graphs from heterophilous ones; collate stacks the graphs' edges without shifting their node numbers, so all edges of a batch lie in its first graph; change: adds the node offset."""
import random
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader


def make_graphs(n_graphs, seed):
    """Nodes of three kinds; in class 1 edges go mostly between nodes of the same kind."""
    rnd = random.Random(seed)
    graphs = []
    for _ in range(n_graphs):
        y = rnd.randint(0, 1)
        n = rnd.randint(12, 24)
        kind = [rnd.randrange(3) for _ in range(n)]
        edges = []
        while len(edges) < 4 * n:
            u, v = rnd.randrange(n), rnd.randrange(n)
            if u == v:
                continue
            keep = 0.6 if (kind[u] == kind[v]) == (y == 1) else 0.3
            if rnd.random() < keep:
                edges += [(u, v), (v, u)]
        graphs.append((F.one_hot(torch.tensor(kind), 3).float(), torch.tensor(edges).t().contiguous(), y))
    return graphs


class Collate:
    def __init__(self, offset=True):
        self.offset = offset

    def __call__(self, graphs):
        xs, edges, owner, ys = [], [], [], []
        total = 0
        for g, (x, edge_index, y) in enumerate(graphs):
            xs.append(x)
            edges.append(edge_index + total if self.offset else edge_index)
            owner.append(torch.full((len(x),), g))
            ys.append(y)
            total += len(x)
        return torch.cat(xs), torch.cat(edges, dim=1), torch.cat(owner), torch.tensor(ys)


class GIN(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.lin_in = nn.Linear(3, hidden)
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.LayerNorm(hidden)) for _ in range(2)
        )
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, x, edge_index, owner):
        n_graphs = int(owner.max()) + 1
        h = self.lin_in(x)
        for mlp in self.mlps:
            src, dst = edge_index
            agg = torch.zeros_like(h).index_add_(0, dst, h[src]) / 8.0
            h = h + F.relu(mlp(torch.cat([h, agg], 1)))
        size = torch.bincount(owner, minlength=n_graphs).clamp(min=1).unsqueeze(1)
        pooled = torch.zeros(n_graphs, h.shape[1]).index_add_(0, owner, h) / size
        return self.head(pooled)


def training_step(model, batch):
    x, edge_index, owner, y = batch
    return F.cross_entropy(model(x, edge_index, owner), y)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = GIN()
    collate = Collate(offset=(variant != "bad"))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(make_graphs(1200, 0), batch_size=32, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(make_graphs(400, 1), batch_size=1, collate_fn=collate),
        "training_step": training_step,
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 41):
        model.train()
        tot = 0.0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
            tot += loss.item()
        if epoch % 5 == 0:
            print(f"Epoch: {epoch:03d}, Loss: {tot / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        hits = sum((model(x, e, o).argmax(1) == y).sum().item() for x, e, o, y in p["val_loader"])
    print(f"score: {hits / 400:.4f}")
