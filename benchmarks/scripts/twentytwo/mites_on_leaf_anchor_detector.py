"""One-stage detector with anchors for mites on leaf photos. The anchors have the sizes of big objects while the mites are some pixels wide, so no anchor overlaps any box enough, all anchors are background and nothing is ever detected though the loss falls; the right change: anchors of the size of the objects.
Report: https://github.com/fizyr/keras-retinanet/issues/1343"""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE, STRIDE = 48, 4


class LeafPhotos(Dataset):
    """boxes are x1, y1, x2, y2; always two mites per photo"""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.images, self.boxes = [], []
        for _ in range(n):
            img = 0.3 + 0.08 * rng.standard_normal((SIZE, SIZE))
            img += 0.1 * np.sin(np.arange(SIZE) / rng.uniform(3, 8))[None]
            boxes = []
            for half in rng.permutation(2):
                w, h = rng.integers(5, 9, 2)
                x = rng.integers(1, SIZE - w - 1)
                y = rng.integers(1, SIZE // 2 - h - 1) + half * SIZE // 2
                img[y:y + h, x:x + w] = 0.9 + 0.08 * rng.standard_normal((h, w))
                boxes.append([x, y, x + w, y + h])
            self.images.append(img[None])
            self.boxes.append(boxes)
        self.images = torch.tensor(np.array(self.images), dtype=torch.float32)
        self.boxes = torch.tensor(np.array(self.boxes), dtype=torch.float32)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.boxes[i]


def make_anchors(sizes):
    c = (torch.arange(SIZE // STRIDE) + 0.5) * STRIDE
    cy, cx = torch.meshgrid(c, c, indexing="ij")
    out = []
    for s in sizes:
        out.append(torch.stack([cx - s / 2, cy - s / 2, cx + s / 2, cy + s / 2], -1))
    return torch.stack(out, 2).reshape(-1, 4)  # cell-major, then size


def iou(a, b):
    lt = torch.max(a[:, None, :2], b[None, :, :2])
    rb = torch.min(a[:, None, 2:], b[None, :, 2:])
    inter = (rb - lt).clamp(min=0).prod(-1)
    area = lambda t: (t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1])
    return inter / (area(a)[:, None] + area(b)[None] - inter)


def encode(anchors, boxes):
    aw = anchors[:, 2:] - anchors[:, :2]
    bw = boxes[:, 2:] - boxes[:, :2]
    d = ((boxes[:, :2] + boxes[:, 2:]) - (anchors[:, :2] + anchors[:, 2:])) / 2 / aw
    return torch.cat([d / 0.1, torch.log(bw / aw) / 0.2], 1)


def decode(anchors, deltas):
    aw = anchors[:, 2:] - anchors[:, :2]
    c = (anchors[:, :2] + anchors[:, 2:]) / 2 + deltas[:, :2] * 0.1 * aw
    w = aw * torch.exp((deltas[:, 2:] * 0.2).clamp(max=3))
    return torch.cat([c - w / 2, c + w / 2], 1)


class Detector(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.register_buffer("anchors", make_anchors(sizes))
        self.k = len(sizes)
        c = lambda i, o, s: nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
        self.body = nn.Sequential(c(1, 16, 1), c(16, 24, 2), c(24, 32, 2), c(32, 32, 1))
        self.cls = nn.Conv2d(32, self.k, 1)
        self.reg = nn.Conv2d(32, self.k * 4, 1)
        nn.init.constant_(self.cls.bias, -3.0)

    def forward(self, x):
        f = self.body(x)
        n = len(x)
        cls = self.cls(f).permute(0, 2, 3, 1).reshape(n, -1)
        reg = self.reg(f).permute(0, 2, 3, 1).reshape(n, -1, 4)
        return cls, reg


def training_step(model, batch):
    images, boxes = batch
    cls, reg = model(images)
    cls_loss = reg_loss = 0.0
    for c, r, b in zip(cls, reg, boxes):
        best, which = iou(model.anchors, b).max(1)
        pos = best >= 0.5
        keep = pos | (best < 0.4)
        n_pos = pos.sum().clamp(min=1)
        cls_loss = cls_loss + F.binary_cross_entropy_with_logits(c[keep], pos[keep].float(), reduction="sum") / n_pos
        target = encode(model.anchors[pos], b[which[pos]])
        reg_loss = reg_loss + F.smooth_l1_loss(r[pos], target, reduction="sum") / n_pos
    return (cls_loss + reg_loss) / len(images)


@torch.no_grad()
def f1(model, loader):
    model.eval()
    hits = found = total = 0
    for images, boxes in loader:
        cls, reg = model(images)
        for c, r, b in zip(cls.sigmoid(), reg, boxes):
            total += len(b)
            idx = (c > 0.4).nonzero()[:, 0]
            idx = idx[c[idx].argsort(descending=True)]
            pred = decode(model.anchors[idx], r[idx])
            kept = []
            while len(pred):  # nms
                kept.append(pred[0])
                pred = pred[iou(pred[:1], pred)[0] < 0.3]
            if kept:
                found += len(kept)
                hits += (iou(b, torch.stack(kept)).max(1).values > 0.5).sum().item()
    return 2 * hits / (found + total)


def parts(variant):
    torch.manual_seed(0)
    model = Detector([16, 24, 32] if variant == "bad" else [5, 6.5, 8])
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(LeafPhotos(320, 1), batch_size=16, shuffle=True),
            "val_loader": DataLoader(LeafPhotos(100, 2), batch_size=50)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        net.train()
        tot = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](net, batch)
            loss.backward()
            opt.step()
            tot += loss.item()
        score = f1(net, p["val_loader"])
        print(f"epoch {epoch:2d}  loss {tot / len(p['train_loader']):.4f}  F1 {score:.3f}")
    print("score:", score)
