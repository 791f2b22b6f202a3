"""A convolutional embedding with batch-hard triplet loss learns which digit stamps on season tickets belong together. Mistake: Adam's learning rate is 0.03, all embeddings fall onto one point and the loss stays at the margin. change: 0.0007."""
import sys

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset


class PKSampler(Sampler):
    def __init__(self, labels, p, k, batches):
        self.groups = [np.flatnonzero(labels == c) for c in np.unique(labels)]
        self.p, self.k, self.batches = p, k, batches

    def __len__(self):
        return self.batches

    def __iter__(self):
        rng = np.random.default_rng(int(torch.randint(0, 2 ** 31, (1,))))
        for _ in range(self.batches):
            chosen = rng.choice(len(self.groups), self.p, replace=False)
            yield [int(i) for c in chosen for i in rng.choice(self.groups[c], self.k, replace=False)]


class StampNet(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
                                  nn.MaxPool2d(2), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, x):
        return self.fc(self.conv(x))


class BatchHardTriplet(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, emb, labels):
        diff = (emb[:, None] - emb[None]).pow(2).sum(-1)
        dist = torch.sqrt(diff + 1e-9)
        same = labels[:, None] == labels[None]
        furthest_positive = (dist * same).max(1).values
        closest_negative = dist.masked_fill(same, float("inf")).min(1).values
        return F.relu(furthest_positive - closest_negative + self.margin).mean()


def parts(variant):
    torch.manual_seed(0)
    images, target = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    target = torch.tensor(target)
    train = TensorDataset(images[:1300], target[:1300])
    val = TensorDataset(images[1300:], target[1300:])
    model = StampNet()
    lr = 0.03 if variant == "bad" else 7e-4
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=lr), "loss_fn": BatchHardTriplet(1.0),
            "train_loader": DataLoader(train, batch_sampler=PKSampler(target[:1300].numpy(), 8, 6, 30)),
            "val_loader": DataLoader(val, batch_size=497)}


WORKS = lambda score: score > 0.75


@torch.no_grad()
def separated(model, loader, gap=0.5):
    """Share of random (anchor, positive, negative) of the held-out stamps that lie apart by the gap."""
    model.eval()
    x, y = next(iter(loader))
    dist = torch.cdist(model(x), model(x))
    rng = np.random.default_rng(0)
    good = []
    for a in range(len(y)):
        pos = rng.choice(np.flatnonzero((y == y[a]).numpy()))
        neg = rng.choice(np.flatnonzero((y != y[a]).numpy()))
        good.append(float(dist[a, pos] + gap < dist[a, neg]))
    model.train()
    return float(np.mean(good))


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(20):
        history = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss.item())
        if epoch % 2:
            print(f"epoch {epoch}: triplet loss {np.mean(history):.4f}, separated {separated(model, p['val_loader']):.3f}")
    score = separated(model, p["val_loader"])
    print(f"score: {score:.4f}")
