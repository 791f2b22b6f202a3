"""Energy of spins on random graphs by a graph net, Adamax, smooth L1; the GraphConv class has activation=None by default (as libraries have) and the model never passes one, so the net is linear in the spins and cannot see their products; change: activation=torch.relu."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

NODES = 14


def spin_graphs(n, seed):
    g = torch.Generator().manual_seed(seed)
    spin = 2.0 * torch.randint(0, 2, (n, NODES, 1), generator=g) - 1
    upper = (torch.rand(n, NODES, NODES, generator=g) < 0.2).float().triu(1)
    adj = upper + upper.transpose(1, 2)
    energy = -0.5 * (spin.transpose(1, 2) @ adj @ spin).view(n, 1)
    field = torch.randn(n, NODES, 1, generator=g)
    energy = energy + 0.5 * (spin * field).sum(1)
    return torch.cat([spin, field], -1), adj, energy


class Graphs(torch.utils.data.Dataset):
    def __init__(self, nodes, adj, energy, mean, std):
        self.nodes, self.adj, self.y = nodes, adj, (energy - mean) / std

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return (self.nodes[i], self.adj[i]), self.y[i]


class GraphConv(nn.Module):
    def __init__(self, in_feats, out_feats, activation=None):
        super().__init__()
        self.own = nn.Linear(in_feats, out_feats)
        self.neighbours = nn.Linear(in_feats, out_feats, bias=False)
        self.activation = activation

    def forward(self, h, adj):
        h = self.own(h) + self.neighbours(adj @ h)
        return h if self.activation is None else self.activation(h)


class EnergyNet(nn.Module):
    def __init__(self, hidden=48, **conv):
        super().__init__()
        self.conv1 = GraphConv(2, hidden, **conv)
        self.conv2 = GraphConv(hidden, hidden, **conv)
        self.conv3 = GraphConv(hidden, hidden, **conv)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, graph):
        h, adj = graph
        for conv in (self.conv1, self.conv2, self.conv3):
            h = conv(h, adj)
        return self.readout(h).mean(1)


def r2(output, target):
    return (1 - (output - target).square().mean() / target.var()).item()


def parts(variant):
    torch.manual_seed(0)
    train, val = spin_graphs(2400, 1), spin_graphs(400, 2)
    mean, std = train[2].mean(), train[2].std()
    model = EnergyNet() if variant == "bad" else EnergyNet(activation=torch.relu)
    return {
        "model": model,
        "optimizer": torch.optim.Adamax(model.parameters(), lr=4e-3),
        "loss_fn": nn.SmoothL1Loss(),
        "train_loader": DataLoader(Graphs(*train, mean, std), batch_size=48, shuffle=True),
        "val_loader": DataLoader(Graphs(*val, mean, std), batch_size=100),
        "metric": r2,
    }


@torch.no_grad()
def test(model, loader):
    model.eval()
    out = [(model(graph), y) for graph, y in loader]
    return r2(torch.cat([o for o, _ in out]), torch.cat([y for _, y in out]))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 13):
        model.train()
        for graph, energy in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(graph), energy)
            loss.backward()
            optimizer.step()
        print(f"Epoch {epoch:02d}, loss: {loss.item():.4f}, test R2: {test(model, p['val_loader']):.3f}")
    value = test(model, p["val_loader"])
    print(f"score: {value:.4f}")
