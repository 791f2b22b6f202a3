"""Two-layer graph convolution network that names the trade of each flea market stall from its goods and its neighbours. The mistake: F.dropout(h, self.training) hands the flag over as p, so in training p is 1.0 and every hidden feature is zeroed (and in evaluation p is 0), only the last bias learns; the right change: F.dropout(h, 0.5, self.training)."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
N, TRADES, WORDS = 600, 6, 80


def make_graph():
    rng = np.random.default_rng(11)
    trade = rng.integers(0, TRADES, N)
    same = trade[:, None] == trade[None, :]
    A = (rng.random((N, N)) < np.where(same, 0.045, 0.0045)).astype(np.float32)
    A = np.triu(A, 1)
    A = A + A.T + np.eye(N, dtype=np.float32)
    d = A.sum(1)
    A = A / np.sqrt(d[:, None] * d[None, :])
    goods = rng.random((TRADES, WORDS)) * 0.12
    X = (rng.random((N, WORDS)) < goods[trade] + 0.03).astype(np.float32)
    X = X / np.maximum(X.sum(1, keepdims=True), 1)
    return torch.tensor(A), torch.tensor(X), torch.tensor(trade), rng.permutation(N)


class GraphConv(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.lin = nn.Linear(n_in, n_out, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_out))
        nn.init.xavier_uniform_(self.lin.weight)

    def forward(self, x, adj):
        return adj @ self.lin(x) + self.bias


class GCN(nn.Module):
    def __init__(self, adj, variant):
        super().__init__()
        self.register_buffer("adj", adj)
        self.conv1 = GraphConv(WORDS, 64)
        self.conv2 = GraphConv(64, TRADES)
        self.variant = variant

    def forward(self, x):
        h = F.relu(self.conv1(x, self.adj))
        if self.variant == "bad":
            h = F.dropout(h, self.training)
        else:
            h = F.dropout(h, 0.5, self.training)
        return self.conv2(h, self.adj)


def accuracy(out, y):
    known = y >= 0
    return (out.argmax(1)[known] == y[known]).float().mean().item()


def parts(variant):
    torch.manual_seed(11)
    A, X, trade, perm = make_graph()
    y_train, y_val = torch.full((N,), -100), torch.full((N,), -100)
    y_train[perm[:150]] = trade[perm[:150]]
    y_val[perm[150:]] = trade[perm[150:]]
    net = GCN(A, variant)
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4),
            "loss_fn": nn.CrossEntropyLoss(ignore_index=-100),
            "train_loader": [(X, y_train)],     # full batch, as always with GCNs
            "val_loader": [(X, y_val)], "metric": accuracy}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    x, y = p["train_loader"][0]
    xv, yv = p["val_loader"][0]
    for epoch in range(1, 251):
        net.train()
        opt.zero_grad()
        loss = p["loss_fn"](net(x), y)
        loss.backward()
        opt.step()
        if epoch % 25 == 0:
            net.eval()
            with torch.no_grad():
                acc = accuracy(net(xv), yv)
            print(f"Epoch: {epoch:03d}, Loss: {loss.item():.4f}, Val: {acc:.4f}")
    print("score:", acc)
