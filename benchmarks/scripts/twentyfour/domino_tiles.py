"""Small CNN that reads the sum of the pips on photographed dominoes' halves (0 to 6). Adam is given the rate 0.1 of an SGD recipe, after a few steps the ReLU layers are dead or the logits jump about, and the accuracy stays at chance; the right change: lr=1e-3."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SPOTS = {0: [], 1: [4], 2: [0, 8], 3: [0, 4, 8], 4: [0, 2, 6, 8], 5: [0, 2, 4, 6, 8], 6: [0, 2, 3, 5, 6, 8]}
GRID = [(r, c) for r in (6, 12, 18) for c in (6, 12, 18)]


def photograph(pips, rng):
    yy, xx = np.mgrid[:24, :24]
    img = np.full((24, 24), rng.uniform(0.75, 0.95)) + rng.uniform(-0.15, 0.15) * xx / 24
    dy, dx = rng.normal(0, 0.8, 2)
    for s in SPOTS[pips]:
        r, c = GRID[s]
        img -= rng.uniform(0.45, 0.75) * np.exp(-((yy - r - dy) ** 2 + (xx - c - dx) ** 2) / 4.0)
    return img + rng.normal(0, 0.06, img.shape)


def album(n, seed):
    rng = np.random.default_rng(seed)
    pips = rng.integers(0, 7, n)
    photos = np.stack([photograph(k, rng) for k in pips])[:, None]
    return TensorDataset(torch.tensor((photos - 0.7) / 0.2, dtype=torch.float32), torch.tensor(pips))


class PipNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc1 = nn.Linear(16 * 6 * 6, 64)
        self.fc2 = nn.Linear(64, 7)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def parts(variant, seed=0):
    torch.manual_seed(seed)
    model = PipNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1 if variant == "bad" else 1e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": F.cross_entropy,
            "train_loader": DataLoader(album(1800, 0), batch_size=32, shuffle=True),
            "val_loader": DataLoader(album(400, 1), batch_size=100)}


WORKS = lambda score: score > 0.9


def train_epoch(model, loader, optimizer, loss_fn):
    model.train()
    total, n = 0.0, 0
    for images, labels in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(images), labels)
        loss.backward()
        optimizer.step()
        total, n = total + loss.item() * len(labels), n + len(labels)
    return total / n


@torch.no_grad()
def test(model, loader):
    model.eval()
    hits = [(model(images).argmax(1) == labels).float() for images, labels in loader]
    return torch.cat(hits).mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for epoch in range(1, 9):
        loss = train_epoch(p["model"], p["train_loader"], p["optimizer"], p["loss_fn"])
        acc = test(p["model"], p["val_loader"])
        print(f"Epoch {epoch}: loss={loss:.4f} val_acc={acc:.3f}")
    print("score:", acc)
