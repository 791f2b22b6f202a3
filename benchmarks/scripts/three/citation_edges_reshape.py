"""Node classes of a citation graph, GCN; the list of edges (E, 2) is brought to (2, E) by reshape; change: the twin transposes it."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

N, CLASSES = 600, 4


def citation_graph(seed=5):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, CLASSES, (N,), generator=g)
    same = y[:, None] == y[None, :]
    prob = torch.where(same, 0.05, 0.004)
    adj = torch.triu(torch.rand(N, N, generator=g) < prob, 1)
    edges = adj.nonzero()
    edges = torch.cat([edges, edges.flip(1)])                       # both directions
    edges = edges[edges[:, 0].argsort(stable=True)]
    means = torch.randn(CLASSES, 16, generator=g) * 0.35
    x = means[y] + torch.randn(N, 16, generator=g)
    return x, y, edges


class GCNLayer(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.lin = nn.Linear(d_in, d_out)

    def forward(self, x, edge_index):
        src, dst = edge_index
        deg = torch.ones(len(x)).index_add(0, dst, torch.ones(len(dst)))
        norm = deg.rsqrt()
        h = self.lin(x) * norm[:, None]
        return (h.index_add(0, dst, h[src])) * norm[:, None]


class NodeClassifier(nn.Module):
    def __init__(self, x, edge_index, hidden=32):
        super().__init__()
        self.register_buffer("x", x)
        self.register_buffer("edge_index", edge_index)
        self.conv1 = GCNLayer(x.shape[1], hidden)
        self.conv2 = GCNLayer(hidden, CLASSES)

    def forward(self, nodes):
        h = F.relu(self.conv1(self.x, self.edge_index))
        h = F.dropout(h, 0.3, self.training)
        return self.conv2(h, self.edge_index)[nodes]


def parts(variant):
    torch.manual_seed(0)
    x, y, edges = citation_graph()
    if variant == "bad":
        edge_index = edges.reshape(2, -1)
    else:
        edge_index = edges.t().contiguous()
    model = NodeClassifier(x, edge_index)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(8))
    tr, va = order[:240], order[240:]
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4),
            "train_loader": DataLoader(TensorDataset(tr, y[tr]), batch_size=60, shuffle=True),
            "val_loader": DataLoader(TensorDataset(va, y[va]), batch_size=360),
            "metric": lambda out, t: (out.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.75


def train_epoch(p):
    p["model"].train()
    total = 0.0
    for nodes, y in p["train_loader"]:
        p["optimizer"].zero_grad()
        loss = p["loss_fn"](p["model"](nodes), y)
        loss.backward()
        p["optimizer"].step()
        total += loss.item()
    return total / len(p["train_loader"])


@torch.no_grad()
def test(p):
    p["model"].eval()
    nodes, y = next(iter(p["val_loader"]))
    return p["metric"](p["model"](nodes), y)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(1, 101):
        loss = train_epoch(p)
        if epoch % 10 == 0:
            print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}, Val: {test(p):.4f}")
    print(f"score: {test(p):.4f}")
