"""Similarity of two sentences (bi-encoder, cosine against a graded label); the label is sliced from its table as a column (N, 1) while the cosine is (N,), so the hand-written squared error is over N x N pairs and all cosines go to the mean; change: the label is sliced as (N,)."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

VOCAB, TOPICS, LENGTH = 240, 12, 14


def table(n, seed):
    """Columns: 14 words of the first sentence, 14 of the second, the graded similarity."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((n, 2 * LENGTH + 1))
    for r in rows:
        shared = rng.random()
        a = rng.choice(TOPICS, size=3, replace=False)
        b = np.where(rng.random(3) < shared, a, rng.choice(TOPICS, size=3))
        hist = np.zeros((2, TOPICS))
        for s, topics in enumerate((a, b)):
            t = rng.choice(topics, size=LENGTH)
            np.add.at(hist[s], t, 1)
            r[s * LENGTH:(s + 1) * LENGTH] = t + TOPICS * rng.integers(0, VOCAB // TOPICS, LENGTH)
        r[-1] = hist[0] @ hist[1] / np.linalg.norm(hist[0]) / np.linalg.norm(hist[1])
    return torch.tensor(rows, dtype=torch.float32)


class BiEncoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.words = nn.Embedding(VOCAB, dim)
        self.project = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim))

    def encode(self, ids):
        return self.project(self.words(ids).mean(1))

    def forward(self, pair):
        u, v = self.encode(pair[:, 0]), self.encode(pair[:, 1])
        return F.cosine_similarity(u, v)


class CosineSimilarityLoss(nn.Module):
    def forward(self, scores, labels):
        return (scores - labels).square().mean()


def dataset(rows, variant):
    pairs = rows[:, :2 * LENGTH].long().view(-1, 2, LENGTH)
    labels = rows[:, -1:] if variant == "bad" else rows[:, -1]
    return TensorDataset(pairs, labels)


def r2(output, target):
    target = target.flatten()
    return (1 - (output - target).square().mean() / target.var(unbiased=False)).item()


def parts(variant):
    torch.manual_seed(0)
    model = BiEncoder()
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
        "loss_fn": CosineSimilarityLoss(),
        "train_loader": DataLoader(dataset(table(6000, 1), variant), batch_size=48, shuffle=True),
        "val_loader": DataLoader(dataset(table(1000, 2), variant), batch_size=500),
        "metric": r2,
    }


@torch.no_grad()
def validate(model, loader):
    model.eval()
    scores, labels = zip(*[(model(pair), y) for pair, y in loader])
    return r2(torch.cat(scores), torch.cat(labels))


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        running = []
        for pair, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(pair), y)
            loss.backward()
            optimizer.step()
            running.append(loss.item())
        print(f"epoch {epoch + 1}: train {np.mean(running):.4f}  val R2 {validate(model, p['val_loader']):.3f}")
    print(f"score: {validate(model, p['val_loader']):.4f}")
