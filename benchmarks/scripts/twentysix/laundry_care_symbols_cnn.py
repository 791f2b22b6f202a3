"""A CNN reads the care symbol (tub, triangle, square, circle, iron, each with none to three dots) from photos of laundry labels. The network ends in a softmax although nn.CrossEntropyLoss applies log-softmax itself, so the gradients are tiny and it hardly learns; the right change: return the logits of the last linear layer."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIDE = 24
YY, XX = np.mgrid[0:SIDE, 0:SIDE]


def draw_symbol(base, dots, rng):
    cx, cy = 11.5 + rng.uniform(-2, 2, 2)
    r = rng.uniform(7.0, 8.5)
    x, y = (XX - cx) / r, (YY - cy) / r
    square = np.maximum(abs(x), abs(y))
    field = {0: np.where(y > -0.8, square, 2.0),
             1: np.maximum(y, abs(x) * 1.4 - 0.5 * (y + 1) + 0.9),
             2: square,
             3: np.hypot(x, y),
             4: np.maximum(abs(y) * 1.6, abs(x - 0.3 * y))}[base]
    image = np.exp(-((field - 0.95) / 0.14) ** 2)
    for i in range(dots):
        dx = cx + (i - (dots - 1) / 2) * 3.6
        image = np.maximum(image, np.exp(-((XX - dx) ** 2 + (YY - cy - 1.5) ** 2) / 1.6))
    ink = rng.uniform(0.6, 1.0)
    return np.clip(ink * image + rng.normal(0, 0.18, image.shape), 0, 1)


def make_photos(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 20, n)
    photos = np.stack([draw_symbol(c // 4, c % 4, rng) for c in labels])
    return torch.tensor(photos, dtype=torch.float32)[:, None], torch.tensor(labels)


class CareNet(nn.Module):
    def __init__(self, num_classes=20, softmax=True):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.fc1 = nn.Linear(32 * 9, 64)
        self.fc2 = nn.Linear(64, num_classes)
        self.out = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x):
        x = self.features(x).flatten(1)
        x = torch.relu(self.fc1(x))
        return self.out(self.fc2(x))


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = CareNet(softmax=variant == "bad")
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9),
            "train_loader": DataLoader(TensorDataset(*make_photos(2400, 1)), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*make_photos(600, 2)), batch_size=200)}


WORKS = lambda score: score > 0.55

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(7):
        model.train()
        for images, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(images), labels)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            score = np.mean([accuracy(model(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {loss.item():.3f} val accuracy {score:.3f}")
    print("score:", float(score))
