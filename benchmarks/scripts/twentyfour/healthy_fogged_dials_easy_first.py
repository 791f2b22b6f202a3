"""Reads the sector (0 to 7) of a pointer on pictures of dials behind fogged glass. Looks odd, is sound: the sampler gives the clearest quarter of the pictures first and lets in foggier ones from epoch to epoch, so the training loss goes down and then rises as intended, while the accuracy on all kinds of fog grows. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

torch.set_num_threads(1)
SIZE, SECTORS = 20, 8


def dials(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    sector, fog = rng.integers(0, SECTORS, n), rng.uniform(0, 1, n)
    pictures = np.empty((n, 1, SIZE, SIZE), dtype=np.float32)
    for i in range(n):
        a = 2 * np.pi * (sector[i] + rng.uniform(0.15, 0.85)) / SECTORS
        along, across = xx * np.cos(a) + yy * np.sin(a), -xx * np.sin(a) + yy * np.cos(a)
        needle = (along > 0) * (along < 8.5) * np.exp(-(across / 1.1) ** 2)
        rim = np.exp(-((np.hypot(xx, yy) - 9) / 0.8) ** 2)
        contrast = 1 - 0.7 * fog[i]
        pictures[i, 0] = contrast * (1.6 * needle + 0.5 * rim) + rng.normal(0, 0.1 + 0.8 * fog[i], (SIZE, SIZE))
    return TensorDataset(torch.from_numpy(pictures), torch.from_numpy(sector)), fog


class EasyFirst(Sampler):
    """A random order of the easiest share; the share grows at each pass until all are in."""

    def __init__(self, difficulty, start=0.25, passes=8):
        self.order = torch.as_tensor(np.argsort(difficulty))
        self.start, self.passes, self.pass_ = start, passes, 0

    def share(self):
        return min(1.0, self.start + (1 - self.start) * self.pass_ / self.passes)

    def __len__(self):
        return int(len(self.order) * self.share())

    def __iter__(self):
        pool = self.order[:len(self)]
        self.pass_ += 1
        return iter(pool[torch.randperm(len(pool))].tolist())


class DialNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(24 * 25, 64), nn.ReLU(), nn.Linear(64, SECTORS))

    def forward(self, x):
        return self.fc(self.conv(x))


def parts(variant):
    torch.manual_seed(0)
    train, fog = dials(2000, 12)
    val, _ = dials(500, 13)
    model = DialNet()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1.5e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=32, sampler=EasyFirst(fog)),
            "val_loader": DataLoader(val, batch_size=250),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(16):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = float(np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]]))
        print(f"epoch {epoch:2d}: {len(losses)} batches, loss {np.mean(losses):.3f}, accuracy in any fog {acc:.3f}")
    print("score:", acc)
