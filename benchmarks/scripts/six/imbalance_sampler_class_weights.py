"""Long-tailed digits with WeightedRandomSampler; it is handed one weight a class, so it only ever draws the first ten images; change: one weight a sample."""
import sys
from collections import Counter

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler


class DigitsLT(Dataset):
    def __init__(self, images, targets, train):
        self.images = torch.tensor(images / 16.0, dtype=torch.float32).unsqueeze(1)
        self.targets = torch.tensor(targets)
        self.train = train

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        x = self.images[i]
        if self.train:      # jitter by a pixel and some noise
            dx, dy = np.random.randint(-1, 2, 2)
            x = torch.roll(x, (int(dx), int(dy)), (1, 2)) + 0.1 * torch.randn_like(x)
        return x, self.targets[i]


def long_tail(seed=0, ratio=12):
    d = load_digits()
    rng = np.random.RandomState(seed)
    perm = rng.permutation(len(d.target))
    test, rest = perm[:500], perm[500:]
    keep = []
    for c in range(10):
        idx = rest[d.target[rest] == c]
        keep.append(idx[:int(120 * ratio ** (-c / 9))])
    keep = rng.permutation(np.concatenate(keep))
    return DigitsLT(d.images[keep], d.target[keep], True), DigitsLT(d.images[test], d.target[test], False)


def balanced_sampler(dataset, per_sample):
    counts = Counter(dataset.targets.tolist())
    class_weights = torch.tensor([1.0 / counts[c] for c in range(10)])
    weights = class_weights[dataset.targets] if per_sample else class_weights
    return WeightedRandomSampler(weights, num_samples=len(dataset), replacement=True)


def parts(variant):
    torch.manual_seed(0)
    np.random.seed(0)
    train, test = long_tail()
    net = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(48 * 16, 10))
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3),
            "train_loader": DataLoader(train, batch_size=32, sampler=balanced_sampler(train, variant != "bad")),
            "val_loader": DataLoader(test, batch_size=250),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


WORKS = lambda score: score > 0.87


def main():
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, ce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        net.train()
        loss_sum = hits = n = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            out = net(x)
            loss = ce(out, y)
            loss.backward()
            opt.step()
            loss_sum += loss.item() * len(y)
            hits += (out.argmax(1) == y).sum().item()
            n += len(y)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: train loss {loss_sum / n:.4f} train acc {hits / n:.4f}")
    net.eval()
    per_class = [[] for _ in range(10)]
    with torch.no_grad():
        for x, y in p["val_loader"]:
            for t, o in zip(y.tolist(), net(x).argmax(1).tolist()):
                per_class[t].append(t == o)
    print(f"score: {np.mean([np.mean(c) for c in per_class]):.4f}")     # balanced accuracy


if __name__ == "__main__":
    main()
