"""Sound: GloVe on counts of plants that stand together in gardens, two tables and two biases, weighted squared error, Adagrad at 0.1. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BEDS, PER_BED = 8, 18
PLANTS = BEDS * PER_BED


def cooccurrence(gardens=4000, seed=2):
    """Counts of pairs; a garden has two kinds of bed and a few strays."""
    rng = np.random.default_rng(seed)
    liked = 1 / np.arange(1, PER_BED + 1) ** 0.5
    liked /= liked.sum()
    counts = np.zeros((PLANTS, PLANTS))
    for _ in range(gardens):
        bed = rng.integers(BEDS)
        row = bed * PER_BED + rng.choice(PER_BED, 10, p=liked)
        strays = rng.random(10) < 0.15
        row[strays] = rng.integers(0, PLANTS, strays.sum())
        for d in (1, 2, 3):
            np.add.at(counts, (row[:-d], row[d:]), 1 / d)
            np.add.at(counts, (row[d:], row[:-d]), 1 / d)
    return counts


class GloVe(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.wi, self.wj = nn.Embedding(PLANTS, dim), nn.Embedding(PLANTS, dim)
        self.bi, self.bj = nn.Embedding(PLANTS, 1), nn.Embedding(PLANTS, 1)
        for e in (self.wi, self.wj, self.bi, self.bj):
            e.weight.data.uniform_(-0.5, 0.5).div_(dim ** 0.5)

    def forward(self, ij):
        i, j = ij[:, 0], ij[:, 1]
        return (self.wi(i) * self.wj(j)).sum(1) + self.bi(i).squeeze(1) + self.bj(j).squeeze(1)

    def vectors(self):
        return self.wi.weight + self.wj.weight


def glove_loss(output, x, x_max=30.0, alpha=0.75):
    weight = (x / x_max).pow(alpha).clamp(max=1.0)
    return (weight * (output - x.log()).pow(2)).mean()


def parts(variant):
    torch.manual_seed(0)
    counts = cooccurrence()
    i, j = np.nonzero(counts)
    pairs, x = torch.tensor(np.stack([i, j], 1)), torch.tensor(counts[i, j], dtype=torch.float32)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    cut = len(x) * 9 // 10
    model = GloVe()
    return {"model": model, "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.1), "loss_fn": glove_loss,
            "train_loader": DataLoader(TensorDataset(pairs[order[:cut]], x[order[:cut]]), 256, shuffle=True),
            "val_loader": DataLoader(TensorDataset(pairs[order[cut:]], x[order[cut:]]), 1024)}


@torch.no_grad()
def neighbours(model):
    """Share of the five nearest plants, by cosine, that come from the same kind of bed."""
    v = nn.functional.normalize(model.vectors(), dim=1)
    s = v @ v.T
    s.fill_diagonal_(-2)
    near = s.topk(5, 1).indices
    return (near // PER_BED == torch.arange(PLANTS)[:, None] // PER_BED).float().mean().item()


WORKS = lambda score: score > 0.7  # chance is 0.12

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(30):
        total = 0.0
        for ij, x in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(ij), x)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.5f}, neighbours {neighbours(model):.3f}")
    print(f"score: {neighbours(model):.4f}")
