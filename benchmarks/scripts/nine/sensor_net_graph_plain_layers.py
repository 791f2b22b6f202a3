"""Alarm state of every sensor of a network from its own and its neighbours' readings, by three graph layers; the layer's activation argument is None unless given, and was not given, so the whole net is one linear map; change: activation=torch.relu in the hidden layers."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

NODES = 24


def adjacency():
    rng = np.random.default_rng(4)
    xy = rng.uniform(size=(NODES, 2))
    d = ((xy[:, None] - xy[None]) ** 2).sum(-1)
    a = np.eye(NODES)
    for i in range(NODES):
        for j in np.argsort(d[i])[1:4]:
            a[i, j] = a[j, i] = 1
    s = 1 / np.sqrt(a.sum(1))
    return torch.tensor(a * s[:, None] * s[None], dtype=torch.float32)


def readings(n, seed):
    """An alarm: the neighbourhood's humidity and heat both off to the same side."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, NODES, 3, generator=g)
    local = adjacency() @ x
    local = local / local.std(0)
    y = (local[:, :, 0] * local[:, :, 1] > 0).float()
    return x, y


class GraphLayer(nn.Module):
    def __init__(self, a, b, activation=None):
        super().__init__()
        self.lin = nn.Linear(a, b)
        self.own = nn.Linear(a, b, bias=False)
        self.activation = activation

    def forward(self, h, adj):
        h = self.lin(adj @ h) + self.own(h)
        return self.activation(h) if self.activation is not None else h


class SensorNet(nn.Module):
    def __init__(self, **kw):
        super().__init__()
        self.register_buffer("adj", adjacency())
        self.one = GraphLayer(3, 48, **kw)
        self.two = GraphLayer(48, 48, **kw)
        self.out = GraphLayer(48, 1)

    def forward(self, x):
        h = self.two(self.one(x, self.adj), self.adj)
        return self.out(h, self.adj).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = SensorNet() if variant == "bad" else SensorNet(activation=torch.relu)
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=2e-3),
        "loss_fn": F.binary_cross_entropy_with_logits,
        "metric": lambda out, y: ((out > 0) == (y > 0.5)).float().mean().item(),
        "train_loader": DataLoader(TensorDataset(*readings(2000, 1)), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*readings(400, 2)), batch_size=400),
    }


WORKS = lambda score: score > 0.8


class Trainer:
    def __init__(self, p):
        self.p, self.model, self.opt = p, p["model"], p["optimizer"]

    def epoch(self):
        self.model.train()
        total = 0.0
        for x, y in self.p["train_loader"]:
            self.opt.zero_grad()
            loss = self.p["loss_fn"](self.model(x), y)
            loss.backward()
            self.opt.step()
            total += loss.item()
        return total / len(self.p["train_loader"])

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        return float(np.mean([self.p["metric"](self.model(x), y) for x, y in self.p["val_loader"]]))


if __name__ == "__main__":
    torch.set_num_threads(1)
    trainer = Trainer(parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"))
    for e in range(15):
        print(f"epoch {e + 1}: loss {trainer.epoch():.4f}, right {trainer.validate():.3f}")
    print(f"score: {trainer.validate():.4f}")
