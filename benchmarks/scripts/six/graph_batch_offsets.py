"""Graph classification (do neighbours agree or disagree?) with hand-made batching; node numbers in edge_index are not moved on when graphs are joined, so all edges fall into the first nodes of the batch; change: add the offset."""
import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

WORKS = lambda acc: acc > 0.85


def random_graph(rng):
    n, label = int(rng.integers(8, 16)), int(rng.integers(2))
    spin = rng.choice([-1.0, 1.0], n)
    edges = []
    for i in range(n):
        for j in range(i + 1, n):
            agree = spin[i] == spin[j]
            if rng.random() < (0.4 if agree == bool(label) else 0.08):
                edges += [(i, j), (j, i)]
    edges += [(i, i) for i in range(n)]
    x = np.stack([spin, rng.normal(size=n)], 1)
    return {"x": torch.tensor(x, dtype=torch.float32), "edge_index": torch.tensor(edges).t(), "y": label}


class Collate:
    def __init__(self, shift=True):
        self.shift = shift

    def __call__(self, graphs):
        xs, eis, batch, offset = [], [], [], 0
        for g_id, g in enumerate(graphs):
            n = len(g["x"])
            xs.append(g["x"])
            eis.append(g["edge_index"] + offset)
            batch.append(torch.full((n,), g_id))
            if self.shift:
                offset += n
        inputs = (torch.cat(xs), torch.cat(eis, dim=1), torch.cat(batch))
        return inputs, torch.tensor([g["y"] for g in graphs])


class SAGELayer(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.own, self.nbr = nn.Linear(d_in, d_out), nn.Linear(d_in, d_out, bias=False)

    def forward(self, x, edge_index):
        src, dst = edge_index
        agg = torch.zeros_like(x).index_add_(0, dst, x[src])
        deg = torch.zeros(len(x)).index_add_(0, dst, torch.ones(len(dst))).clamp(min=1)
        return F.relu(self.own(x) + self.nbr(agg / deg[:, None]))


class GraphNet(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.l1, self.l2 = SAGELayer(2, hidden), SAGELayer(hidden, hidden)
        self.cls = nn.Linear(hidden, 2)

    def forward(self, inputs):
        x, edge_index, batch = inputs
        h = self.l2(self.l1(x, edge_index), edge_index)
        n_graphs = int(batch.max()) + 1
        pooled = torch.zeros(n_graphs, h.shape[1]).index_add_(0, batch, h)
        return self.cls(pooled / torch.bincount(batch, minlength=n_graphs)[:, None])


def parts(variant="fixed"):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    graphs = [random_graph(rng) for _ in range(1500)]
    collate = Collate(shift=variant != "bad")
    net = GraphNet()
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=5e-3, weight_decay=1e-5),
            "train_loader": DataLoader(graphs[:1200], batch_size=30, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(graphs[1200:], batch_size=30, collate_fn=collate),
            "loss_fn": nn.CrossEntropyLoss(), "metric": lambda o, y: (o.argmax(1) == y).float().mean()}


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    p = parts(ap.parse_args().variant)
    net, opt = p["model"], p["optimizer"]
    rng = np.random.default_rng(77)                       # tested one graph at a time
    test_graphs = [Collate()([random_graph(rng)]) for _ in range(300)]
    for epoch in range(20):
        net.train()
        losses = []
        for inputs, y in p["train_loader"]:
            loss = p["loss_fn"](net(inputs), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            acc = np.mean([(net(i).argmax(1) == y).item() for i, y in test_graphs])
        if epoch % 2:
            print(f"epoch {epoch + 1:2d} loss {np.mean(losses):.4f} test accuracy {acc:.3f}")
    print("score:", round(float(acc), 4))
