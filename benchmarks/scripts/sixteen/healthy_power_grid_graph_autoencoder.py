"""Graph autoencoder for link prediction on one network: the whole graph is the only batch, the input features are the identity matrix, non-edges are drawn anew at each step and some of them are real edges; the loss never gets near zero; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

N = 240


def network(seed=14):
    rng = np.random.default_rng(seed)
    pos = rng.uniform(size=(N, 2))
    d = np.linalg.norm(pos[:, None] - pos[None], axis=-1)
    i, j = np.where(np.triu(d < 0.13, 1))
    edges = np.stack([i, j], 1)
    rng.shuffle(edges)
    cut = int(0.85 * len(edges))
    non = np.stack(np.where(np.triu(d >= 0.13, 1)), 1)
    rng.shuffle(non)
    return (torch.tensor(edges[:cut]), torch.tensor(edges[cut:]), torch.tensor(non[:len(edges) - cut]))


class WholeGraph(Dataset):
    def __init__(self, edges, repeat):
        self.edges, self.repeat = edges, repeat

    def __len__(self):
        return self.repeat

    def __getitem__(self, i):
        return self.edges


class GAE(nn.Module):
    def __init__(self, edges):
        super().__init__()
        a = torch.eye(N)
        a[edges[:, 0], edges[:, 1]] = 1
        a[edges[:, 1], edges[:, 0]] = 1
        s = a.sum(1) ** -0.5
        self.register_buffer("a", s[:, None] * a * s[None])
        self.first = nn.Linear(N, 48, bias=False)
        self.second = nn.Linear(48, 24, bias=False)

    def embed(self):
        h = F.relu(self.a @ self.first.weight.T)         # the features are one-hot
        return self.a @ self.second(h)

    def forward(self, pairs):
        z = self.embed()
        return (z[pairs[:, 0]] * z[pairs[:, 1]]).sum(1)


def training_step(model, edges):
    edges = edges[0]
    fake = torch.randint(0, N, edges.shape)
    pos, neg = model(edges), model(fake)
    return (F.softplus(-pos).mean() + F.softplus(neg).mean()) / 2


def parts(variant):
    torch.manual_seed(0)
    train, held, _ = network()
    model = GAE(train)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.01), "training_step": training_step,
            "train_loader": DataLoader(WholeGraph(train, 20), batch_size=1),
            "val_loader": DataLoader(WholeGraph(held, 1), batch_size=1)}


WORKS = lambda score: score > 0.85      # AUC of held-out edges

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        total = 0
        for edges in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, edges)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    _, held, non = network()
    with torch.no_grad():
        a, b = model(held), model(non)
    print(f"score: {(a[:, None] > b[None]).float().mean():.4f}")
