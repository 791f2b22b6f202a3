"""Small CNN with BatchNorm that tells toy bricks apart by their number of studs (five kinds, random place, noise). Sound: an ordinary classifier, pixels standardised with the statistics of the training images, evaluated in eval mode."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
KINDS = [(1, 1), (1, 2), (2, 2), (2, 3), (3, 3)]


def draw_brick(kind, rng):
    rows, cols = KINDS[kind]
    if rng.random() < 0.5:
        rows, cols = cols, rows
    img = np.zeros((20, 20), dtype=np.float32)
    h, w = rows * 5 + 1, cols * 5 + 1
    top, left = rng.integers(0, 20 - h + 1), rng.integers(0, 20 - w + 1)
    body = rng.uniform(0.35, 0.5)
    img[top:top + h, left:left + w] = body
    for r in range(rows):
        for c in range(cols):
            y, x = top + r * 5 + 2, left + c * 5 + 2
            img[y:y + 2, x:x + 2] = body + rng.uniform(0.3, 0.5)
    return np.clip(img + rng.normal(0, 0.08, img.shape), 0, 1).astype(np.float32)


class Bricks(Dataset):
    def __init__(self, n, seed, mean=None, std=None):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, len(KINDS), n)
        self.images = np.stack([draw_brick(k, rng) for k in self.labels])
        self.mean = self.images.mean() if mean is None else mean
        self.std = self.images.std() if std is None else std

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        img = (self.images[i] - self.mean) / self.std
        return torch.from_numpy(img)[None].float(), int(self.labels[i])


class BrickNet(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * 25, classes))

    def forward(self, x):
        return self.head(self.features(x))


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item()


def parts(variant):
    torch.manual_seed(1)
    train = Bricks(2000, seed=0)
    val = Bricks(600, seed=1, mean=train.mean, std=train.std)
    model = BrickNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(train, batch_size=64, shuffle=True),
            "val_loader": DataLoader(val, batch_size=200)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = np.mean([accuracy(model(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.3f}  val acc {acc:.3f}")
    print("score:", acc)
