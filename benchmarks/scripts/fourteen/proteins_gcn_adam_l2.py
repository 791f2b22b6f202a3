"""Three-layer GCN that gives proteins their function on an interaction network; bad: weight_decay=0.3, a number taken from an AdamW recipe, goes into torch.optim.Adam, where it is an L2 term in the gradient and pulls all weights to zero (the loss stays at ln 6); change: weight_decay=5e-4."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

N, CLASSES, FEATURES = 900, 6, 40


def interaction_network(seed=0):
    rng = np.random.RandomState(seed)
    function = rng.randint(0, CLASSES, N)
    same = function[:, None] == function[None]
    edges = np.triu(rng.rand(N, N) < np.where(same, 0.035, 0.003), 1)
    a = (edges | edges.T).astype("float32") + np.eye(N, dtype="float32")
    d = a.sum(1) ** -0.5
    motif = rng.randn(CLASSES, FEATURES) * 0.45
    x = (motif[function] + rng.randn(N, FEATURES)).astype("float32")
    return torch.tensor(x), torch.tensor(a * d[:, None] * d[None]), torch.tensor(function)


class GCN(nn.Module):
    def __init__(self, x, adjacency, hidden=32):
        super().__init__()
        self.register_buffer("x", x)
        self.register_buffer("adjacency", adjacency)
        self.lin1, self.lin2 = nn.Linear(FEATURES, hidden), nn.Linear(hidden, hidden)
        self.lin3 = nn.Linear(hidden, CLASSES)
        self.drop = nn.Dropout(0.3)

    def forward(self, nodes):
        h = torch.relu(self.adjacency @ self.lin1(self.x))
        h = torch.relu(self.adjacency @ self.lin2(self.drop(h)))
        h = self.adjacency @ self.lin3(self.drop(h))
        return h[nodes]


def parts(variant):
    torch.manual_seed(0)
    x, adjacency, y = interaction_network()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(4))
    train, val = order[:300], order[300:]
    model = GCN(x, adjacency)
    decay = 0.3 if variant == "bad" else 5e-4
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=decay),
                loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(train, y[train]), batch_size=100, shuffle=True),
                val_loader=DataLoader(TensorDataset(val, y[val]), batch_size=600))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]

    def test():
        model.eval()
        with torch.no_grad():
            hits = [(model(i).argmax(1) == y).float().mean() for i, y in p["val_loader"]]
        return torch.stack(hits).mean().item()

    for epoch in range(40):
        model.train()
        losses = []
        for nodes, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(nodes), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f} val acc {test():.3f}")
    score = test()
    print(f"score: {score:.4f}")
