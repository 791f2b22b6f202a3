"""Detector of one shelf label per image with a GIoU loss that expects corners (x1, y1, x2, y2), while the annotation file holds (x, y, width, height). change: turn the annotations into corners when they are read."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def shelves(n, seed):
    r = np.random.RandomState(seed)
    images = r.normal(0.3, 0.1, (n, 1, 32, 32)).astype(np.float32)
    ann = np.zeros((n, 4), np.float32)
    for i in range(n):
        w, h = r.randint(6, 15), r.randint(5, 11)
        x, y = r.randint(0, 32 - w), r.randint(0, 32 - h)
        images[i, 0, y:y + h, x:x + w] += 0.6
        ann[i] = x, y, w, h
    return torch.tensor(images), torch.tensor(ann) / 32


def to_corners(ann):
    return torch.cat([ann[:, :2], ann[:, :2] + ann[:, 2:]], 1)


def area(b):
    return (b[:, 2] - b[:, 0]).clamp(min=0) * (b[:, 3] - b[:, 1]).clamp(min=0)


def box_iou(a, b):
    lt, rb = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inter = (rb - lt).clamp(min=0).prod(1)
    union = area(a) + area(b) - inter
    return inter / (union + 1e-6), union


def giou_loss(output, target):
    iou, union = box_iou(output, target)
    lt, rb = torch.minimum(output[:, :2], target[:, :2]), torch.maximum(output[:, 2:], target[:, 2:])
    hull = (rb - lt).clamp(min=0).prod(1)
    return (1 - iou + (hull - union) / (hull + 1e-6)).mean()


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, stride=2),
                                  nn.ReLU(), nn.Flatten(), nn.Linear(32 * 64, 128), nn.ReLU(), nn.Linear(128, 4))

    def forward(self, x):
        cx, cy, w, h = torch.sigmoid(self.body(x)).unbind(1)
        return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 1)


def parts(variant):
    torch.manual_seed(0)
    X, A = shelves(1500, 0)
    XV, AV = shelves(300, 1)
    T = A if variant == "bad" else to_corners(A)
    model = Detector()
    return {"model": model, "loss_fn": giou_loss, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(TensorDataset(X, T), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(XV, AV if variant == "bad" else to_corners(AV)), batch_size=100)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    truth_images, truth = shelves(300, 1)
    for epoch in range(20):
        net.train()
        tot = 0.0
        for images, boxes in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = p["loss_fn"](net(images), boxes)
            loss.backward()
            opt.step()
            tot += loss.item()
        net.eval()
        with torch.no_grad():
            iou = box_iou(net(truth_images), to_corners(truth))[0].mean().item()
        print(f"epoch {epoch} loss {tot / len(p['train_loader']):.4f} IoU with the drawn labels {iou:.3f}")
    print(f"score: {iou:.4f}")
