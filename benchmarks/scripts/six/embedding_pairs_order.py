"""Metric learning on digits, every anchor with two positives and two negatives; the anchors are laid out per item (repeat_interleave) while the partners are laid out positives first, so most pairs join the wrong two; change: repeat each k times within every block."""
import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.utils.data import DataLoader, Dataset

K, DIM = 2, 3
WORKS = lambda acc: acc > 0.65


class AnchorSet(Dataset):
    def __init__(self, x, y, seed=0):
        self.x, self.y = x, y
        self.rng = np.random.default_rng(seed)
        self.same = [np.flatnonzero(y == c) for c in range(10)]
        self.other = [np.flatnonzero(y != c) for c in range(10)]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        c = self.y[i]
        pos, neg = self.rng.choice(self.same[c], K), self.rng.choice(self.other[c], K)
        return self.x[i], self.x[pos], self.x[neg]


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, DIM))

    def forward(self, x):
        return nn.functional.normalize(self.net(x), dim=-1)


def make_step(variant):
    criterion = nn.CosineEmbeddingLoss(margin=0.3)

    def training_step(model, batch):
        anchor, pos, neg = batch
        z = model(anchor)
        partners = [model(pos.flatten(0, 1)), model(neg.flatten(0, 1))]
        n = K * len(anchor)
        labels = torch.cat([torch.ones(n), -torch.ones(n)])
        if variant == "bad":
            anchors = z.repeat_interleave(K * len(partners), dim=0)
        else:
            anchors = z.repeat_interleave(K, dim=0).repeat(len(partners), 1)
        return criterion(anchors, torch.cat(partners, dim=0), labels)

    return training_step


def load():
    d = load_digits()
    order = np.random.default_rng(3).permutation(len(d.target))
    x, y = torch.tensor(d.data[order] / 16, dtype=torch.float32), d.target[order]
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


def parts(variant="fixed"):
    torch.manual_seed(0)
    (x, y), _ = load()
    model = Embedder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(AnchorSet(x, y), batch_size=60, shuffle=True),
            "training_step": make_step(variant)}


@torch.no_grad()
def knn_accuracy(model):
    (x, y), (xt, yt) = load()
    model.eval()
    return KNeighborsClassifier(5).fit(model(x).numpy(), y).score(model(xt).numpy(), yt)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(1, 31):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 5 == 0:
            print(f"epoch {epoch} loss {np.mean(losses):.4f} 5-NN accuracy {knn_accuracy(model):.3f}")
    print("score:", round(knn_accuracy(model), 4))
