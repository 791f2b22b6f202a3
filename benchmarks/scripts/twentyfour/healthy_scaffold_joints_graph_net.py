"""A message passing net on scaffolds of different sizes that predicts the overload of every joint (what it carries above the mean of its neighbours, less for steel). A sound program: graphs are put side by side with shifted node numbers, both directions of each pole are in the edge list, means over the neighbours, target standardised. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
EPOCHS = 8


def scaffold(rng):
    n = int(rng.integers(6, 15))
    poles = {(i, i + 1) for i in range(n - 1)}
    for _ in range(n // 2):
        a, b = sorted(rng.choice(n, 2, replace=False).tolist())
        poles.add((a, b))
    load = rng.gamma(2.0, 0.5, n)
    steel = rng.integers(0, 2, n)
    adjacent = np.zeros((n, n))
    for a, b in poles:
        adjacent[a, b] = adjacent[b, a] = 1
    around = adjacent @ load / adjacent.sum(1)
    overload = np.maximum(load - around, 0) * np.where(steel, 0.4, 1.0) + rng.normal(0, 0.03, n)
    edges = torch.tensor([(a, b) for a, b in poles] + [(b, a) for a, b in poles]).t()
    x = torch.tensor(np.stack([load - 1.0, steel], 1), dtype=torch.float32)
    return x, edges, torch.tensor(overload, dtype=torch.float32)


class Collate:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, graphs):
        xs, edges, offset = [], [], 0
        for x, e, _ in graphs:
            xs.append(x)
            edges.append(e + offset)
            offset += len(x)
        y = torch.cat([overload for _, _, overload in graphs])
        return (torch.cat(xs), torch.cat(edges, 1)), (y - self.mean) / self.std


class MessageLayer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.message = nn.Sequential(nn.Linear(2 * d, d), nn.ReLU())
        self.update = nn.Sequential(nn.Linear(2 * d, d), nn.ReLU(), nn.Linear(d, d))

    def forward(self, h, edges):
        src, dst = edges
        m = self.message(torch.cat([h[src], h[dst]], 1))
        total = torch.zeros_like(h).index_add_(0, dst, m)
        degree = torch.zeros(len(h), 1).index_add_(0, dst, torch.ones(len(dst), 1))
        return h + self.update(torch.cat([h, total / degree.clamp(min=1)], 1))


class ScaffoldNet(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.embed = nn.Linear(2, d)
        self.layers = nn.ModuleList([MessageLayer(d), MessageLayer(d)])
        self.head = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1))

    def forward(self, graph):
        x, edges = graph
        h = self.embed(x)
        for layer in self.layers:
            h = layer(h, edges)
        return self.head(h).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(42)
    train, val = [scaffold(rng) for _ in range(1200)], [scaffold(rng) for _ in range(400)]
    targets = torch.cat([overload for _, _, overload in train])
    collate = Collate(float(targets.mean()), float(targets.std()))
    model = ScaffoldNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.SmoothL1Loss(),
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(val, batch_size=100, collate_fn=collate)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(EPOCHS):
        model.train()
        losses = []
        for graph, y in p["train_loader"]:
            loss = p["loss_fn"](model(graph), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            out, y = (torch.cat(z) for z in zip(*[(model(g), t) for g, t in p["val_loader"]]))
        r2 = (1 - ((out - y) ** 2).mean() / y.var()).item()
        print(f"epoch {epoch:2d} huber {np.mean(losses):.4f} val R2 {r2:.3f}")
    print("score:", r2)
