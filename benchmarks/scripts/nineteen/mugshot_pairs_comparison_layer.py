"""Siamese network that says whether two digit images show the same digit; the two embeddings are compared by one linear layer on their signed difference, which gives opposite answers to (a, b) and (b, a) and can tell no equality. change: the absolute difference."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class SiameseNet(nn.Module):
    def __init__(self, variant):
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
                                   nn.ReLU(), nn.Flatten(), nn.Linear(512, 48), nn.Sigmoid())
        self.out = nn.Linear(48, 1)
        self.variant = variant

    def forward(self, pair):
        a, b = self.tower(pair[:, :1]), self.tower(pair[:, 1:])
        diff = a - b if self.variant == "bad" else torch.abs(a - b)
        return self.out(diff).squeeze(1)


def make_pairs(images, labels, n, rng):
    by_class = [np.flatnonzero(labels == c) for c in range(10)]
    left = rng.randint(0, len(images), n)
    same = rng.rand(n) < 0.5
    right = np.empty(n, int)
    for k in range(n):
        c = labels[left[k]]
        if not same[k]:
            c = rng.choice([d for d in range(10) if d != c])
        right[k] = rng.choice(by_class[c])
    x = np.stack([images[left], images[right]], 1).astype(np.float32) / 16
    return TensorDataset(torch.tensor(x), torch.tensor(same.astype(np.float32)))


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.RandomState(0)
    d = load_digits()
    order = rng.permutation(len(d.images))
    tr, va = order[:1400], order[1400:]
    model = SiameseNet(variant)
    return {"model": model, "loss_fn": nn.BCEWithLogitsLoss(), "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(make_pairs(d.images[tr], d.target[tr], 6000, rng), batch_size=64, shuffle=True),
            "val_loader": DataLoader(make_pairs(d.images[va], d.target[va], 1000, rng), batch_size=250)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(8):
        net.train()
        history = []
        for pair, same in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(pair), same)
            loss.backward()
            p["optimizer"].step()
            history.append(loss.item())
        net.eval()
        with torch.no_grad():
            score = np.mean([((net(x) > 0) == (y > 0.5)).float().mean().item() for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(history):.4f}, val accuracy {score:.4f}")
    print(f"score: {score:.4f}")
