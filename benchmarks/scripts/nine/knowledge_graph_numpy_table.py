"""Tail entity of a knowledge graph's (head, relation) by a bilinear model; mistake: the entity table comes from numpy in float64 and .float() is called on the Parameter, so the attribute is a converted copy, the module does not register it and the optimizer never gets it; change: .float() inside the Parameter."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ENTITIES, KINDS, RELATIONS = 180, 12, 8
KIND = np.random.default_rng(5).permutation(np.arange(ENTITIES) % KINDS)


def triples():
    """A relation leads from each kind of entity to one other kind; which entity of it is open."""
    rng = np.random.default_rng(6)
    leads = np.stack([rng.permutation(KINDS) for _ in range(RELATIONS)])
    head, rel = np.meshgrid(np.arange(ENTITIES), np.arange(RELATIONS), indexing="ij")
    pairs = rng.permutation(np.stack([head.ravel(), rel.ravel()], 1))

    def rows(part, repeats):
        p = np.repeat(part, repeats, 0)
        goal = leads[p[:, 1], KIND[p[:, 0]]]
        tail = np.array([rng.choice(np.flatnonzero(KIND == k)) for k in goal])
        return torch.from_numpy(p), torch.from_numpy(tail)

    return rows(pairs[:1150], 6), rows(pairs[1150:], 1)


class Bilinear(nn.Module):
    def __init__(self, registered, dim=24):
        super().__init__()
        start = np.random.default_rng(0).normal(0, 0.3, (ENTITIES, dim))
        if registered:
            self.entity = nn.Parameter(torch.from_numpy(start).float())
        else:
            self.entity = nn.Parameter(torch.from_numpy(start)).float()
        self.relation = nn.Parameter(torch.randn(RELATIONS, dim, dim) * dim ** -0.5)

    def forward(self, pairs):
        head, relation = self.entity[pairs[:, 0]], self.relation[pairs[:, 1]]
        return torch.einsum("bi,bij->bj", head, relation) @ self.entity.t()


def parts(variant):
    torch.manual_seed(0)
    train, test = triples()
    model = Bilinear(registered=variant != "bad")
    optimizer = torch.optim.Adagrad(model.parameters(), lr=0.1)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*train), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*test), batch_size=512),
    }


@torch.no_grad()
def right_kind(model, loader):
    """How often the best guess for a pair never seen is at least of the right kind."""
    model.eval()
    kind = torch.from_numpy(KIND)
    hits = [kind[model(pairs).argmax(1)] == kind[tail] for pairs, tail in loader]
    return torch.cat(hits).float().mean().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        total = 0.0
        model.train()
        for pairs, tail in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(pairs), tail)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(tail)
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader'].dataset):.3f}, right kind {right_kind(model, p['val_loader']):.3f}")
    print(f"score: {right_kind(model, p['val_loader']):.4f}")
