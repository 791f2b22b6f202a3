"""Graph net for the drying time of varnishes from the polymer graph and the conditions (temperature, humidity, thickness). The features of the whole graph are encoded but the head reads the pooled nodes alone, so that the predictions do not depend on the conditions; the right change: give the head the sum of both.
Report: https://github.com/Ramprasad-Group/polygnn/issues/13"""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
N_NODES, N_ATOMS = 10, 5


class Varnishes(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        kinds = rng.integers(0, N_ATOMS, (n, N_NODES))
        self.nodes = np.eye(N_ATOMS, dtype=np.float32)[kinds]
        self.adj = np.zeros((n, N_NODES, N_NODES), np.float32)
        for k in range(n):
            for i in range(1, N_NODES):
                j = rng.integers(max(0, i - 3), i)
                self.adj[k, i, j] = self.adj[k, j, i] = 1
        self.feats = rng.normal(size=(n, 3)).astype(np.float32)
        bonds = (self.adj * ((kinds[:, :, None] == 1) & (kinds[:, None] == 3))).sum((1, 2))
        y = 0.5 * (kinds == 0).sum(1) - 0.4 * bonds - 1.0 * self.feats[:, 0] + 0.8 * self.feats[:, 1] * (self.feats[:, 2] > 0)
        self.y = ((y - 0.85) / 1.4 + 0.03 * rng.normal(size=n)).astype(np.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return (self.nodes[i], self.adj[i], self.feats[i]), self.y[i]


class PolyNet(nn.Module):
    def __init__(self, use_conditions, width=48):
        super().__init__()
        self.embed = nn.Linear(N_ATOMS, width)
        self.messages = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.updates = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(2))
        self.readout = nn.Linear(width, width)
        self.graph_encoder = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width))
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.use_conditions = use_conditions

    def forward(self, data):
        nodes, adj, graph_feats = data
        h = torch.relu(self.embed(nodes))
        for m, u in zip(self.messages, self.updates):
            h = h + torch.relu(u(torch.cat([h, adj @ torch.relu(m(h))], -1)))
        pooled = self.readout(h.sum(1))
        cond = self.graph_encoder(graph_feats)
        fingerprint = pooled + cond if self.use_conditions else pooled
        return self.head(fingerprint).squeeze(1)


def r2(out, y):
    return 1 - ((out - y) ** 2).mean().item() / y.var().item()


def parts(variant):
    torch.manual_seed(0)
    model = PolyNet(use_conditions=variant != "bad")
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(Varnishes(1200, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(Varnishes(300, 2), batch_size=300), "metric": r2}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(40):
        model.train()
        tot = 0.0
        for data, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(data), y)
            loss.backward()
            p["optimizer"].step()
            tot += loss.item()
        model.eval()
        with torch.no_grad():
            val = np.mean([r2(model(data), y) for data, y in p["val_loader"]])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: train mse {tot / len(p['train_loader']):.4f}, val R2 {val:.3f}")
    print("score:", val)
