"""CNN (Adam) that names parts on a conveyor belt from belt-subtracted pictures stretched to 0..1; they are stored in an array made with dtype=np.uint8, and numpy cuts every value below 1 to 0 on assignment, so the pictures are black but for one pixel; the right change: a float32 array."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE = 28
PARTS = ["washer", "bolt", "bracket", "plate", "cross", "clip"]


def silhouette(kind, rng):
    yy, xx = np.mgrid[0:SIZE, 0:SIZE]
    cy, cx = rng.uniform(10, 18, 2)
    a = rng.uniform(0, 2 * np.pi)
    u = (xx - cx) * np.cos(a) + (yy - cy) * np.sin(a)
    v = -(xx - cx) * np.sin(a) + (yy - cy) * np.cos(a)
    r = np.hypot(u, v)
    s = rng.uniform(5.5, 7.5)
    return [(r < s) & (r > s * 0.5),
            (np.abs(v) < 1.5) & (np.abs(u) < s) | (np.abs(u - s) < 1.5) & (np.abs(v) < 4),
            ((np.abs(v - s * 0.7) < 1.6) & (np.abs(u) < s)) | ((np.abs(u - s * 0.7) < 1.6) & (np.abs(v) < s)),
            (np.abs(u) < s * 0.8) & (np.abs(v) < s * 0.8),
            ((np.abs(u) < 1.5) | (np.abs(v) < 1.5)) & (r < s),
            (r < s) & (r > s * 0.6) & (u > -1)][kind]


class Belt(Dataset):
    def __init__(self, n, seed, dtype):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[0:SIZE, 0:SIZE]
        empty = 120 + 40 * np.sin(xx / 3.0) + 15 * np.cos(yy / 2.0)
        self.labels = rng.integers(0, len(PARTS), n)
        self.frames = np.empty((n, 1, SIZE, SIZE), dtype=dtype)
        for i, k in enumerate(self.labels):
            contrast = rng.uniform(18, 40) * rng.choice([-1, 1])
            frame = empty + contrast * silhouette(k, rng) + rng.normal(0, 4, (SIZE, SIZE))
            diff = np.abs(frame - empty)
            self.frames[i, 0] = (diff - diff.min()) / (diff.max() - diff.min())

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, i):
        return torch.from_numpy(self.frames[i]).float(), int(self.labels[i])


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, len(PARTS)))
    dtype = np.uint8 if variant == "bad" else np.float32
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Belt(2400, 0, dtype), batch_size=60, shuffle=True),
            "val_loader": DataLoader(Belt(500, 1, dtype), batch_size=250), "metric": accuracy}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        running = 0.0
        for images, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            running += loss.item()
        model.eval()
        with torch.no_grad():
            acc = np.mean([accuracy(model(images), labels) for images, labels in p["val_loader"]])
        print(f"epoch {epoch}: loss {running / len(p['train_loader']):.3f} val acc {acc:.3f}")
    print("score:", acc)
