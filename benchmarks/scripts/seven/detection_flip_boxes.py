"""Regresses the box (x1, y1, x2, y2) of one object in an image, with random horizontal flips; mistake: the flip mirrors x1 and x2 without swapping them, so flipped boxes have x1 > x2 and the widths average out; change: swaps the two."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

S = 32


def scene(rng):
    image = rng.normal(0.2, 0.08, (3, S, S)).astype(np.float32)
    w, h = rng.integers(7, 18, 2)
    x, y = rng.integers(0, S - w), rng.integers(0, S - h)
    colour = rng.uniform(0.4, 1.0, 3).astype(np.float32)
    image[:, y:y + h, x:x + w] = colour[:, None, None] + rng.normal(0, 0.05, (3, h, w))
    for _ in range(6):
        a, b = rng.integers(0, S, 2)
        image[:, b, a] = rng.uniform(0, 1, 3)
    return torch.from_numpy(image), torch.tensor([x, y, x + w, y + h], dtype=torch.float32) / S


class RandomHorizontalFlip:
    def __init__(self, p, variant):
        self.p = p
        self.columns = [2, 0] if variant == "fixed" else [0, 2]

    def __call__(self, image, box):
        if torch.rand(1).item() < self.p:
            image = image.flip(-1)
            box = box.clone()
            box[[0, 2]] = 1.0 - box[self.columns]
        return image, box


class Scenes(Dataset):
    def __init__(self, n, seed, transform=None):
        rng = np.random.default_rng(seed)
        self.items = [scene(rng) for _ in range(n)]
        self.transform = transform

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        image, box = self.items[i]
        return self.transform(image, box) if self.transform else (image, box)


class BoxNet(nn.Module):
    def __init__(self):
        super().__init__()
        chans = [3, 16, 32, 48]
        layers = []
        for a, b in zip(chans, chans[1:]):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
        self.backbone = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(48 * 16, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, x):
        return self.head(self.backbone(x))


def box_iou(a, b):
    lo, hi = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
    inter = (hi - lo).clamp(min=0).prod(1)
    area = lambda t: (t[:, 2:] - t[:, :2]).clamp(min=0).prod(1)
    return inter / (area(a) + area(b) - inter + 1e-9)


def parts(variant="fixed"):
    torch.manual_seed(8)
    model = BoxNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(Scenes(900, 0, RandomHorizontalFlip(0.5, variant)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(Scenes(200, 1), batch_size=100),
        "loss_fn": nn.SmoothL1Loss(beta=0.1),
    }


WORKS = lambda score: score > 0.6


def train(variant, epochs=20):
    p = parts(variant)
    net, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, epochs + 1):
        net.train()
        total = 0.0
        for images, boxes in p["train_loader"]:
            loss = criterion(net(images), boxes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(images)
        net.eval()
        with torch.no_grad():
            iou = torch.cat([box_iou(net(x), b) for x, b in p["val_loader"]]).mean().item()
        print(f"epoch {epoch:2d}: train loss {total / 900:.4f}, val IoU {iou:.3f}")
    return iou


if __name__ == "__main__":
    print(f"score: {train(sys.argv[1] if len(sys.argv) > 1 else 'fixed'):.4f}")
