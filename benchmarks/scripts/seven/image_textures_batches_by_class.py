"""Small CNN with batch norm on grating textures read folder by folder; mistake: the batches are cut from the class-sorted list, so each holds one class (only the order of the batches is shuffled); change: the samples are permuted before cutting."""
import random
import sys

import numpy as np
import torch
import torch.nn as nn

CLASSES, PER_CLASS, SIZE, BATCH = 6, 160, 20, 32


def texture(kind, rng):
    yy, xx = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    angle = np.pi * kind / CLASSES + rng.normal(0, 0.06)
    freq = rng.uniform(3.0, 4.5)
    wave = np.sin(2 * np.pi * freq * (xx * np.cos(angle) + yy * np.sin(angle)) + rng.uniform(0, 6.28))
    return (0.5 + 0.35 * wave + rng.normal(0, 0.25, wave.shape)).astype(np.float32)


def read_folders(seed, per_class):
    """Walks class_0/, class_1/, ... and stacks what it finds."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for kind in range(CLASSES):
        for _ in range(per_class):
            images.append(texture(kind, rng))
            labels.append(kind)
    x = torch.from_numpy(np.stack(images)).unsqueeze(1)
    return (x - 0.5) / 0.35, torch.tensor(labels)


def block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2))


class TextureNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(block(1, 16), block(16, 32))
        self.classifier = nn.Linear(32, CLASSES)

    def forward(self, x):
        return self.classifier(self.features(x).mean(dim=(2, 3)))


def parts(variant="fixed"):
    torch.manual_seed(0)
    random.seed(0)
    x, y = read_folders(1, PER_CLASS)
    xv, yv = read_folders(2, 40)
    order = torch.arange(len(x))
    if variant == "fixed":
        order = torch.randperm(len(x))
    batches = [(x[i], y[i]) for i in order.split(BATCH)]
    random.shuffle(batches)
    model = TextureNet()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        "train_loader": batches,
        "val_loader": [(a, b) for a, b in zip(xv.split(60), yv.split(60))],
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, target: (out.argmax(1) == target).float().mean(),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(17):
        random.shuffle(p["train_loader"])
        model.train()
        running = 0.0
        for images, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        model.eval()
        hits = total = 0
        with torch.no_grad():
            for images, labels in p["val_loader"]:
                hits += (model(images).argmax(1) == labels).sum().item()
                total += len(labels)
        print(f"epoch {epoch + 1}: train loss {running / len(p['train_loader']):.4f}  val acc {hits / total:.3f}")
    print(f"score: {hits / total:.4f}")
