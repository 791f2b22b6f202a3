"""YOLO-like one-scale detector; the head's (B, 5+C, S, S) map is turned into (B, S, S, 5+C) with view, which mixes cells and channels; change: `fixed` permutes."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader
WORKS = lambda score: score > 0.6      # F1 of detections: right class, IoU >= 0.5
S, C, IMG = 6, 2, 48
CELL = IMG // S


class Shapes(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.x = torch.zeros(n, 1, IMG, IMG)
        self.y = torch.zeros(n, S, S, 5 + C)
        yy, xx = np.mgrid[:IMG, :IMG]
        for i in range(n):
            img = rng.normal(0, 0.12, (IMG, IMG))
            for _ in range(rng.integers(1, 4)):
                w, h = rng.uniform(9, 18, 2)
                cls = int(rng.integers(0, C))
                cx, cy = rng.uniform(w / 2, IMG - w / 2), rng.uniform(h / 2, IMG - h / 2)
                gx, gy = int(cx // CELL), int(cy // CELL)
                if self.y[i, gy, gx, 4] > 0:
                    continue
                dx, dy = abs(xx - cx) / (w / 2), abs(yy - cy) / (h / 2)
                inside = np.maximum(dx, dy) < 1 if cls == 0 else dx ** 2 + dy ** 2 < 1
                img[inside] += 1.0 if cls == 0 else -1.0
                self.y[i, gy, gx, :5] = torch.tensor([cx / CELL - gx, cy / CELL - gy, w / IMG, h / IMG, 1.0])
                self.y[i, gy, gx, 5 + cls] = 1
            self.x[i, 0] = torch.from_numpy(img)

    def __getitem__(self, i):
        return self.x[i], self.y[i]

    def __len__(self):
        return len(self.x)


class GridDetector(nn.Module):
    def __init__(self, variant, c=16):
        super().__init__()
        self.variant = variant
        layers, prev = [], 1
        for width in (c, 2 * c, 2 * c):
            layers += [nn.Conv2d(prev, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(0.1), nn.MaxPool2d(2)]
            prev = width
        self.backbone = nn.Sequential(*layers, nn.Conv2d(prev, 2 * c, 3, padding=1), nn.LeakyReLU(0.1),
                                      nn.Conv2d(2 * c, 2 * c, 3, padding=1), nn.LeakyReLU(0.1))
        self.head = nn.Conv2d(2 * c, 5 + C, 1)

    def forward(self, x):
        out = self.head(self.backbone(x))
        out = out.view(-1, S, S, 5 + C) if self.variant == "bad" else out.permute(0, 2, 3, 1)
        return torch.cat([out[..., :4].sigmoid(), out[..., 4:]], -1)

def yolo_loss(pred, target):
    obj = target[..., 4] == 1
    xy = (pred[..., :2] - target[..., :2])[obj].pow(2).sum()
    wh = (pred[..., 2:4].sqrt() - target[..., 2:4].sqrt())[obj].pow(2).sum()
    conf = F.binary_cross_entropy_with_logits(pred[..., 4], target[..., 4], reduction="none")
    conf = conf[obj].sum() + 0.5 * conf[~obj].sum()
    cls = F.cross_entropy(pred[..., 5:][obj], target[..., 5:][obj].argmax(-1), reduction="sum")
    return (5 * (xy + wh) + conf + cls) / len(pred)

def boxes(grid, keep):
    i, gy, gx = keep.nonzero(as_tuple=True)
    v = grid[i, gy, gx]
    center, size = (v[:, :2] + torch.stack([gx, gy], 1)) * CELL, v[:, 2:4] * IMG
    return i, torch.cat([center - size / 2, center + size / 2], 1), v[:, 5:].argmax(1)

@torch.no_grad()
def f1(model, loader):
    model.eval()
    hits = n_pred = n_true = 0
    for x, y in loader:
        out = model(x)
        bi, bp, cp = boxes(out, out[..., 4] > 0)
        ti, bt, ct = boxes(y, y[..., 4] == 1)
        inter = (torch.min(bp[:, None, 2:], bt[:, 2:]) - torch.max(bp[:, None, :2], bt[:, :2])).clamp(min=0).prod(-1)
        area = lambda b: (b[:, 2:] - b[:, :2]).prod(-1)
        good = (inter / (area(bp)[:, None] + area(bt) - inter) >= 0.5) & (bi[:, None] == ti) & (cp[:, None] == ct)
        hits += good.any(0).sum().item(); n_pred += len(bp); n_true += len(bt)
    return 2 * hits / max(n_pred + n_true, 1)

def parts(variant):
    torch.manual_seed(4)
    model = GridDetector(variant)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(Shapes(432, 0), 24, shuffle=True), "val_loader": DataLoader(Shapes(100, 1), 40),
            "loss_fn": yolo_loss}

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(14):
        p["model"].train()
        mean_loss = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = yolo_loss(p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            mean_loss.append(loss.item())
        if epoch % 2 == 1:
            print(f"epoch {epoch + 1} mean loss was {np.mean(mean_loss):.3f}")
    print(f"score: {f1(p['model'], p['val_loader']):.4f}")
