"""Healthy: graph with six labelled nodes per class, one batch an epoch, dropout 0.7, heavy weight decay, label smoothing; validation is better than training."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

NODES, CLASSES = 500, 5


def community_graph():
    g = torch.Generator().manual_seed(41)
    y = torch.arange(NODES) % CLASSES
    p = torch.where(y[:, None] == y[None], 0.08, 0.006)
    a = torch.triu(torch.rand(NODES, NODES, generator=g) < p, 1).float()
    a = a + a.T + torch.eye(NODES)
    d = a.sum(1).rsqrt()
    words = torch.randn(CLASSES, 48, generator=g) * 0.8
    x = ((words[y] + torch.randn(NODES, 48, generator=g)) > 1.0).float()
    return x / x.sum(1, keepdim=True).clamp(min=1), d[:, None] * a * d[None], y


class GCN(nn.Module):
    def __init__(self, x, adj):
        super().__init__()
        self.register_buffer("x", x)
        self.register_buffer("adj", adj)
        self.w1, self.w2 = nn.Linear(x.shape[1], 32, bias=False), nn.Linear(32, CLASSES)

    def forward(self, nodes):
        h = F.dropout(self.x, 0.5, self.training)
        h = F.elu(self.adj @ self.w1(h))
        h = F.dropout(h, 0.7, self.training)
        return (self.adj @ self.w2(h))[nodes]


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, adj, y = community_graph()
    net = GCN(x, adj)
    labelled = torch.arange(6 * CLASSES)
    rest = torch.arange(6 * CLASSES, NODES)
    optimizer = torch.optim.Adam([{"params": net.w1.parameters(), "weight_decay": 5e-2},
                                  {"params": net.w2.parameters(), "weight_decay": 0.0}], lr=2e-2)
    return {"model": net, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.2),
            "train_loader": DataLoader(TensorDataset(labelled, y[labelled]), batch_size=len(labelled), shuffle=True),
            "val_loader": DataLoader(TensorDataset(rest, y[rest]), batch_size=len(rest)),
            "metric": lambda out, t: (out.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(400):
        p["model"].train()
        for nodes, y in p["train_loader"]:
            out = p["model"](nodes)
            loss = p["loss_fn"](out, y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        train = p["metric"](out, y)
        p["model"].eval()
        with torch.no_grad():
            nodes, y = next(iter(p["val_loader"]))
            val = p["metric"](p["model"](nodes), y)
        if epoch % 40 == 39:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f} train {train:.3f} val {val:.3f}")
    print(f"score: {val:.4f}")
