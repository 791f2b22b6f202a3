"""Defects on wooden boards by a small fully convolutional net, RMSprop, classes weighted by 1/frequency; the frequencies come from Counter.most_common(), in order of frequency and not of the class, so the wood gets the weight of the rarest class; change: in order of the class."""
import sys
from collections import Counter
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CLASSES = ["hole", "knot", "resin", "wood"]          # alphabetical, as the annotation tool numbers them
SIZE = 32


def boards(n, seed):
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:SIZE, :SIZE]
    images, masks = np.empty((n, 1, SIZE, SIZE)), np.full((n, SIZE, SIZE), 3)
    for i in range(n):
        grain = 0.35 * np.sin(rows * rng.uniform(0.3, 0.6) + rng.uniform(0, 6) + 0.05 * cols)
        image = grain + 0.15 * rng.normal(size=(SIZE, SIZE))
        for kind, chance, (low, high), shade in ((2, 0.7, (2.5, 3.5), 0.7), (1, 0.8, (3, 4.5), -0.7), (0, 0.6, (1.5, 2.2), -1.2)):
            if rng.random() < chance:
                r, c, radius = *rng.uniform(5, SIZE - 5, 2), rng.uniform(low, high)
                stretch = 2.0 if kind == 2 else 1.0
                inside = ((rows - r) ** 2 + ((cols - c) / stretch) ** 2) < radius ** 2
                masks[i][inside] = kind
                image[inside] += shade * rng.uniform(0.6, 1.2)
        images[i, 0] = image + 0.4 * rng.normal(size=(SIZE, SIZE))
    return torch.tensor(images / 0.55, dtype=torch.float32), torch.tensor(masks)


def conv(a, b, dilation=1):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=dilation, dilation=dilation, bias=False), nn.BatchNorm2d(b), nn.ReLU())


def class_weights(masks, by_class):
    counts = Counter(masks.flatten().tolist())
    if by_class:
        freq = [counts[k] for k in range(len(CLASSES))]
    else:
        freq = [count for _, count in counts.most_common()]
    weights = 1 / torch.tensor(freq, dtype=torch.float32)
    return weights / weights.sum() * len(CLASSES)


def parts(variant):
    torch.manual_seed(0)
    images, masks = boards(500, 1)
    model = nn.Sequential(conv(1, 20), conv(20, 20), conv(20, 20, 2), conv(20, 20, 4), nn.Conv2d(20, len(CLASSES), 1))
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
        "loss_fn": nn.CrossEntropyLoss(weight=class_weights(masks, by_class=variant != "bad")),
        "train_loader": DataLoader(TensorDataset(images, masks), batch_size=20, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*boards(150, 2)), batch_size=50),
    }


WORKS = lambda score: score > 0.75


@torch.no_grad()
def recalls(model, loader):
    model.eval()
    table = torch.zeros(len(CLASSES), len(CLASSES))
    for x, y in loader:
        table += torch.bincount((y * len(CLASSES) + model(x).argmax(1)).flatten(), minlength=16).view(4, 4)
    return table.diag() / table.sum(1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(7):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        r = recalls(model, p["val_loader"])
        print(f"epoch {epoch}: loss {loss.item():.4f}", dict(zip(CLASSES, [round(v, 2) for v in r.tolist()])))
    print(f"score: {recalls(model, p['val_loader']).mean().item():.4f}")
