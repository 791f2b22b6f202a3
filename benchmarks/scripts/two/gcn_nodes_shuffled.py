"""GCN node classification on a citation-like graph: features and labels of the nodes are shuffled for the split, the edge list keeps the old numbers; change: split with index masks (or renumber the edges)."""
import sys, numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

def citation_graph(n=600, classes=5, seed=0):
    r = np.random.RandomState(seed)
    y = np.sort(r.randint(0, classes, n))
    words = r.rand(classes, 60) * 0.08 + 0.03
    for c in range(classes): words[c, c * 8:(c + 1) * 8] += 0.10
    x = (r.rand(n, 60) < words[y]).astype(np.float32)
    edges = set()
    while len(edges) < 3000:
        a, b = r.randint(0, n, 2)
        if a != b and (y[a] == y[b] or r.rand() < 0.05): edges.add((a, b)); edges.add((b, a))
    return torch.tensor(x), torch.tensor(y), torch.tensor(sorted(edges)).t()

class GCN(nn.Module):
    def __init__(self, x, edge_index, n_cls):
        super().__init__()
        n = len(x)
        A = torch.zeros(n, n); A[edge_index[0], edge_index[1]] = 1.0; A += torch.eye(n)
        d = A.sum(1).rsqrt()
        self.register_buffer("A", d[:, None] * A * d[None, :]); self.register_buffer("x", x)
        self.w1, self.w2 = nn.Linear(x.shape[1], 32), nn.Linear(32, n_cls)
    def forward(self, idx):
        h = F.dropout(F.relu(self.A @ self.w1(self.x)), 0.3, self.training)
        return (self.A @ self.w2(h))[idx]

def parts(variant):
    torch.manual_seed(0); np.random.seed(0)
    x, y, ei = citation_graph()
    perm = torch.from_numpy(np.random.permutation(len(x)))
    if variant == "bad":
        x, y = x[perm], y[perm]
        train, test = torch.arange(0, 200), torch.arange(200, 600)
    else:
        train, test = perm[:200], perm[200:]
    model = GCN(x, ei, 5)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(train, y[train]), batch_size=200, shuffle=True),
            "val_loader": DataLoader(TensorDataset(test, y[test]), batch_size=400)}

WORKS = lambda s: s > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); model = p["model"]
    for epoch in range(200):
        model.train()
        for idx, y in p["train_loader"]:
            p["optimizer"].zero_grad(); out = model(idx); loss = p["loss_fn"](out, y); loss.backward(); p["optimizer"].step()
        if epoch % 40 == 39: print(f"Epoch {epoch + 1:03d}, loss {loss:.4f}")
    model.eval()
    for idx, y in p["val_loader"]:
        print("score:", (model(idx).argmax(1) == y).float().mean().item())
