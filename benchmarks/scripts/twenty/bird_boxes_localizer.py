"""Detector for one object per picture (class and box, in units of the picture); bad: SGD with lr=1e-5, far too small, the loss hardly moves; change: lr=0.01."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class NestBoxImages(Dataset):
    """Dark disc (0), dark square (1) or bright triangle (2) on a cloudy background."""

    def __init__(self, n, seed, size=32):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[0:size, 0:size]
        self.samples = []
        for _ in range(n):
            kind = int(rng.integers(3))
            half = rng.uniform(4, 8)
            cx, cy = rng.uniform(9, size - 9, 2)
            img = 0.5 + 0.08 * rng.standard_normal((size, size))
            if kind == 0:
                inside, level = (xx - cx) ** 2 + (yy - cy) ** 2 < half ** 2, 0.1
            elif kind == 1:
                inside, level = (abs(xx - cx) < half) & (abs(yy - cy) < half), 0.15
            else:
                inside, level = (yy < cy + half) & (yy - cy + half > 2 * abs(xx - cx)), 0.9
            img[inside] = level + 0.05 * rng.standard_normal(inside.sum())
            box = np.array([cx - half, cy - half, cx + half, cy + half]) / size
            self.samples.append((torch.tensor((img[None] - 0.5) / 0.25, dtype=torch.float32),
                                 kind, torch.tensor(box.clip(0, 1), dtype=torch.float32)))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        img, kind, box = self.samples[i]
        return img, {"label": kind, "box": box}


class Localizer(nn.Module):
    def __init__(self):
        super().__init__()
        chans = [1, 16, 32, 32]
        layers = []
        for a, b in zip(chans[:-1], chans[1:]):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
        self.backbone = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU())
        self.cls_head = nn.Linear(64, 3)
        self.box_head = nn.Linear(64, 4)

    def forward(self, x):
        h = self.backbone(x)
        return {"logits": self.cls_head(h), "boxes": self.box_head(h)}


def detection_loss(output, target):
    return F.cross_entropy(output["logits"], target["label"]) + 5.0 * F.smooth_l1_loss(output["boxes"], target["box"])


def iou(a, b):
    lt, rb = torch.max(a[:, :2], b[:, :2]), torch.min(a[:, 2:], b[:, 2:])
    inter = (rb - lt).clamp(min=0).prod(1)
    area = lambda t: (t[:, 2:] - t[:, :2]).clamp(min=0).prod(1)
    return inter / (area(a) + area(b) - inter)


def parts(variant):
    torch.manual_seed(0)
    model = Localizer()
    lr = 1e-5 if variant == "bad" else 0.01
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4),
            "loss_fn": detection_loss,
            "train_loader": DataLoader(NestBoxImages(1200, 10), batch_size=32, shuffle=True),
            "val_loader": DataLoader(NestBoxImages(300, 11), batch_size=100)}


WORKS = lambda score: score > 0.7  # right class and IoU above one half

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        hist = []
        for images, targets in p["train_loader"]:
            loss = p["loss_fn"](model(images), targets)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            hist.append(loss.item())
        model.eval()
        found = []
        with torch.no_grad():
            for images, targets in p["val_loader"]:
                out = model(images)
                found.append((out["logits"].argmax(1) == targets["label"]) & (iou(out["boxes"], targets["box"]) > 0.5))
        score = torch.cat(found).float().mean().item()
        print(f"epoch {epoch:2d}  train loss {np.mean(hist):.4f}  detected {score:.3f}")
    print(f"score: {score:.4f}")
