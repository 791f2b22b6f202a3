"""A graph network predicts which villages lose power this evening from the network plan (village -> distribution post -> substation). The plan lists each line once, from the village upwards, and messages run along the listed direction only, so a village hears nothing of its post; the right change: add the lines in the reverse direction too."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

torch.set_num_threads(1)
FEATURES = 7      # kind (3, one-hot), load, age of the wire, wind, trees


def district(g):
    """One substation, 4 to 7 posts, 3 to 8 villages at each post."""
    r = lambda *s: torch.randn(*s, generator=g)
    kinds, parent = [0], [-1]
    for _ in range(int(torch.randint(4, 8, (), generator=g))):
        post = len(kinds)
        kinds.append(1)
        parent.append(0)
        villages = int(torch.randint(3, 9, (), generator=g))
        kinds += [2] * villages
        parent += [post] * villages
    kinds, parent = torch.tensor(kinds), torch.tensor(parent)
    n = len(kinds)
    x = torch.cat([F.one_hot(kinds, 3).float(), r(n, 4)], dim=1)
    is_village = kinds == 2
    up = parent.clamp(min=0)
    load, wire, wind, trees = x[:, 3:].unbind(1)
    stress = 1.6 * load[up] + 1.0 * wire[up] + 0.7 * load[0] + 0.4 * trees + 0.3 * wind + 0.25 * r(n)
    lines = torch.stack([torch.arange(1, n), parent[1:]])           # as in the plan: (from, to)
    return {"x": x, "edge_index": lines, "y": (stress > 0).float(), "mask": is_village}


def collate(graphs):
    offset, edges = 0, []
    for graph in graphs:
        edges.append(graph["edge_index"] + offset)
        offset += len(graph["x"])
    batch = {k: torch.cat([graph[k] for graph in graphs]) for k in ("x", "y", "mask")}
    batch["edge_index"] = torch.cat(edges, dim=1)
    return batch


def to_undirected(graph):
    e = graph["edge_index"]
    return {**graph, "edge_index": torch.cat([e, e.flip(0)], dim=1)}


class SAGEConv(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.own, self.neighbours = nn.Linear(cin, cout), nn.Linear(cin, cout, bias=False)

    def forward(self, x, edge_index):
        src, dst = edge_index
        total = torch.zeros_like(x).index_add(0, dst, x[src])
        degree = torch.zeros(len(x)).index_add(0, dst, torch.ones(len(dst))).clamp(min=1)
        return self.own(x) + self.neighbours(total / degree[:, None])


class OutageGNN(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.conv1, self.conv2 = SAGEConv(FEATURES, hidden), SAGEConv(hidden, hidden)
        self.head = nn.Linear(hidden, 1)

    def forward(self, batch):
        h = F.relu(self.conv1(batch["x"], batch["edge_index"]))
        h = F.relu(self.conv2(h, batch["edge_index"]))
        return self.head(h).squeeze(-1)


def training_step(model, batch):
    logits = model(batch)
    return F.binary_cross_entropy_with_logits(logits[batch["mask"]], batch["y"][batch["mask"]])


def parts(variant):
    torch.manual_seed(6)
    g = torch.Generator().manual_seed(6)
    graphs = [district(g) for _ in range(600)]
    if variant != "bad":
        graphs = [to_undirected(graph) for graph in graphs]
    model = OutageGNN()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4),
            "training_step": training_step,
            "train_loader": DataLoader(graphs[:480], batch_size=16, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(graphs[480:], batch_size=40, collate_fn=collate)}


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    hits = total = 0
    for batch in loader:
        m = batch["mask"]
        hits += ((model(batch) > 0).float() == batch["y"])[m].sum().item()
        total += m.sum().item()
    return hits / total


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(12):
        p["model"].train()
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, held-out {evaluate(p['model'], p['val_loader']):.3f}")
    print("score:", evaluate(p["model"], p["val_loader"]))
