"""Photographs of tea towels in five patterns (stripes, checks, dots, waves, plain weave), told apart by a small CNN. Adam runs at lr=0.2, hundreds of times too large for it, so the first steps throw the weights away and the ReLUs die; the right change: lr=2e-3."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
PATTERNS = ["stripes", "checks", "dots", "waves", "plain"]


def towel(kind, rng, side=20):
    y, x = np.mgrid[:side, :side].astype("float32")
    turn, period = rng.uniform(-0.3, 0.3), rng.uniform(4.5, 7.0)
    u, v = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
    pu, pv = 2 * np.pi * (u / period + rng.random()), 2 * np.pi * (v / period + rng.random())
    if kind == 0:
        cloth = np.sign(np.sin(pv))
    elif kind == 1:
        cloth = 0.7 * (np.sign(np.sin(pu)) + np.sign(np.sin(pv)))
    elif kind == 2:
        cloth = 2.0 * (np.cos(pu) + np.cos(pv) > 1.1) - 0.6
    elif kind == 3:
        cloth = np.sign(np.sin(pv + 1.6 * np.sin(pu / 1.5)))
    else:
        cloth = 0.3 * rng.normal(size=(side, side))
    light = 0.02 * rng.normal() * x + 0.02 * rng.normal() * y
    return (rng.uniform(0.5, 1.0) * cloth + light + 0.6 * rng.normal(size=(side, side))).astype("float32")


class TeaTowels(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.kinds = rng.integers(0, len(PATTERNS), count)
        self.images = np.stack([towel(k, rng) for k in self.kinds])[:, None]

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]), int(self.kinds[i])


class TowelCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, padding=2)
        self.conv2 = nn.Conv2d(16, 24, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(24 * 25, 64)
        self.fc2 = nn.Linear(64, len(PATTERNS))

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def parts(variant):
    torch.manual_seed(23)
    model = TowelCNN()
    rate = 0.2 if variant == "bad" else 2e-3
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=rate),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TeaTowels(1500, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TeaTowels(400, 2), batch_size=400),
            "metric": lambda out, kind: (out.argmax(1) == kind).float().mean()}


WORKS = lambda score: score > 0.7


def train_one_epoch(model, loader, optimizer, criterion):
    running = 0.0
    for images, kinds in loader:
        optimizer.zero_grad()
        loss = criterion(model(images), kinds)
        loss.backward()
        optimizer.step()
        running += loss.item()
    return running / len(loader)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(8):
        loss = train_one_epoch(p["model"], p["train_loader"], p["optimizer"], p["loss_fn"])
        with torch.no_grad():
            images, kinds = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](images), kinds).item()
        print(f"epoch {epoch}: loss {loss:.3f} accuracy {score:.3f}")
    print("score:", score)
