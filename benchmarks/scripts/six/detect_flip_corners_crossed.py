"""Single-object detector with a random horizontal flip; the flipped box keeps x1 and x2 in their places, so x1 > x2; change: the two are swapped."""
import random
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

S = 32


class Shapes(Dataset):
    """one bright rectangle among clutter; boxes are x1, y1, x2, y2 in [0, 1]"""

    def __init__(self, n, seed, augment=False, swap=True):
        rng = np.random.RandomState(seed)
        self.imgs = rng.rand(n, 1, S, S).astype(np.float32) * 0.5
        self.boxes = np.zeros((n, 4), np.float32)
        for i in range(n):
            w, h = rng.randint(8, 18, 2)
            x, y = rng.randint(0, S - w), rng.randint(0, S - h)
            self.imgs[i, 0, y:y + h, x:x + w] += 0.5
            self.boxes[i] = np.array([x, y, x + w, y + h]) / S
        self.augment, self.swap = augment, swap

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        img, box = torch.from_numpy(self.imgs[i]), torch.from_numpy(self.boxes[i])
        if self.augment and random.random() < 0.5:
            img = img.flip(-1)
            x1, y1, x2, y2 = box
            box = torch.stack([1 - x2, y1, 1 - x1, y2] if self.swap else [1 - x1, y1, 1 - x2, y2])
        return img, box


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        def block(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))
        self.features = nn.Sequential(block(1, 12), block(12, 24), block(24, 32))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, x):
        return self.head(self.features(x))


def iou(a, b):
    lt, rb = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
    inter = (rb - lt).clamp(min=0).prod(1)
    area = lambda t: (t[:, 2:] - t[:, :2]).clamp(min=0).prod(1)
    return inter / (area(a) + area(b) - inter + 1e-9)


def parts(variant):
    torch.manual_seed(42)
    random.seed(42)
    model = Detector()
    train = Shapes(1500, 0, augment=True, swap=variant != "bad")
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(Shapes(300, 1), batch_size=100),
            "loss_fn": nn.SmoothL1Loss(beta=0.05),
            "metric": lambda out, box: iou(out, box).mean()}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 13):
        net.train()
        tot = 0.0
        for img, box in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(net(img), box)
            loss.backward()
            opt.step()
            tot += loss.item() * len(img)
        net.eval()
        with torch.no_grad():
            ious = torch.cat([iou(net(img), box) for img, box in p["val_loader"]])
        print(f"[{epoch:02d}] loss={tot / 1500:.4f} val IoU={ious.mean():.3f}")
    print(f"score: {ious.mean():.4f}")
