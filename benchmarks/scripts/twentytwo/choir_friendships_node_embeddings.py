"""Link prediction with node embeddings: the sigmoid of the dot product of two nodes. The probability is rounded to 0 or 1 before the loss, through which no gradient comes, so nothing is learned; the right change: give the probability itself to the loss and round for the accuracy only.
Report: https://go-mk-websites.co.uk/post/the-loss-in-gnn-doesnt-decrease (a copy of a Stack Overflow question and answer)"""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NODES, GROUPS = 200, 4


def friendships(seed=0):
    rng = np.random.default_rng(seed)
    voice = rng.integers(0, GROUPS, NODES)
    prob = np.where(voice[:, None] == voice[None], 0.85, 0.01)
    a, b = np.triu_indices(NODES, 1)
    linked = rng.random(len(a)) < prob[a, b]
    pos = np.stack([a[linked], b[linked]], 1)
    neg = np.stack([a[~linked], b[~linked]], 1)
    neg = neg[rng.choice(len(neg), len(pos), replace=False)]
    edges = np.concatenate([pos, neg])
    labels = np.r_[np.ones(len(pos)), np.zeros(len(neg))].astype(np.float32)
    order = rng.permutation(len(edges))
    edges, labels = torch.from_numpy(edges[order]), torch.from_numpy(labels[order])
    cut = int(0.8 * len(edges))
    return TensorDataset(edges[:cut], labels[:cut]), TensorDataset(edges[cut:], labels[cut:])


class EdgeScorer(nn.Module):
    def __init__(self, dim=4, hard=False):
        super().__init__()
        self.emb = nn.Embedding(NODES, dim)
        self.emb.weight.data.uniform_(0, 1).sub_(0.5)
        self.sigmoid = nn.Sigmoid()
        self.hard = hard

    def forward(self, edge):
        dot = (self.emb(edge[:, 0]) * self.emb(edge[:, 1])).sum(1)
        out = self.sigmoid(dot)
        return torch.round(out) if self.hard else out


def accuracy(pred, label):
    return (pred.round() == label).float().mean().item()


def parts(variant):
    torch.manual_seed(1)
    train, test = friendships()
    emb = EdgeScorer(hard=variant == "bad")
    return {"model": emb, "optimizer": torch.optim.SGD(emb.parameters(), lr=1.0, momentum=0.9), "loss_fn": nn.BCELoss(),
            "train_loader": DataLoader(train, batch_size=256, shuffle=True),
            "val_loader": DataLoader(test, batch_size=512), "metric": accuracy}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    emb, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(40):
        emb.train()
        for train_edge, train_label in p["train_loader"]:
            optimizer.zero_grad()
            pred = emb(train_edge)
            loss = loss_fn(pred, train_label)
            loss.backward()
            optimizer.step()
        emb.eval()
        with torch.no_grad():
            acc = np.mean([accuracy(emb(e), l) for e, l in p["val_loader"]])
        if epoch % 10 == 9:
            print(f"Epoch: {epoch + 1} loss: {loss.item():.4f} test acc: {acc:.3f}")
    print("score:", acc)
