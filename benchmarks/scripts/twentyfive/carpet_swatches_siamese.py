"""Siamese network for the weaves of carpet swatches with the contrastive loss. The pairs are labelled 1 for the same weave, but the loss is the textbook's, in which 1 means different, so equal weaves are pushed apart and different ones drawn together; the right change: label * d ** 2 + (1 - label) * relu(margin - d) ** 2."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
WEAVES, SIDE = 10, 16


def swatch(weave, rng):
    fx, fy = [(1, 3), (3, 1), (2, 2), (4, 1), (1, 4), (3, 3), (2, 4), (4, 2), (5, 1), (1, 5)][weave]
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    a, b = rng.uniform(0, 2 * np.pi, 2)
    tone = np.sin(2 * np.pi * fx * x + a) + np.sin(2 * np.pi * fy * y + b)
    light = rng.normal(0, 0.6) + rng.normal(0, 0.6) * x + rng.normal(0, 0.6) * y
    return (0.7 * tone + light + rng.normal(0, 0.35, (SIDE, SIDE))).astype(np.float32)


class SwatchPairs(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.pairs = []
        for _ in range(n):
            same = rng.random() < 0.5
            first = int(rng.integers(WEAVES))
            second = first if same else int((first + rng.integers(1, WEAVES)) % WEAVES)
            self.pairs.append((swatch(first, rng)[None], swatch(second, rng)[None], np.float32(same)))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


class SiameseNet(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                                 nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
        self.fc = nn.Linear(24 * 4, dim)

    def forward_once(self, x):
        return self.fc(self.cnn(x).flatten(1))

    def forward(self, x1, x2):
        return self.forward_once(x1), self.forward_once(x2)


class ContrastiveLoss(nn.Module):
    def __init__(self, pull_label, margin=1.5):
        super().__init__()
        self.pull_label, self.margin = pull_label, margin

    def forward(self, e1, e2, label):
        d = nn.functional.pairwise_distance(e1, e2)
        pull = label if self.pull_label == 1 else 1 - label
        return (pull * d ** 2 + (1 - pull) * torch.relu(self.margin - d) ** 2).mean()


def parts(variant):
    torch.manual_seed(19)
    model = SiameseNet()
    criterion = ContrastiveLoss(pull_label=0 if variant == "bad" else 1)

    def training_step(model, batch):
        x1, x2, label = batch
        return criterion(*model(x1, x2), label)

    return {"model": model, "training_step": training_step,
            "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(SwatchPairs(2400, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(SwatchPairs(500, 2), batch_size=250)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(5):
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](net, batch)
            loss.backward()
            opt.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    with torch.no_grad():
        found = [(nn.functional.pairwise_distance(*net(a, b)), same) for a, b, same in p["val_loader"]]
    d, same = (torch.cat(t) for t in zip(*found))
    closer = d[same == 1][:, None] < d[same == 0][None]      # area under the ROC curve
    print("score:", closer.float().mean().item())
