"""Hedges, ponds and field in little aerial pictures, a fully convolutional net with growing dilation; unusual: the pixels on the seams are labelled 255 and ignored by the loss, and the field is nine tenths of the picture."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
N = 24


class Aerial(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[0:N, 0:N]
        self.items = []
        for _ in range(n):
            mask = np.zeros((N, N), np.int64)
            a, b = rng.uniform(0, np.pi), rng.uniform(6, 18)
            d = np.abs((xx - N / 2) * np.sin(a) - (yy - N / 2) * np.cos(a) + (b - 12))
            mask[d < 1.5] = 1
            r = np.hypot(xx - rng.uniform(5, 19), yy - rng.uniform(5, 19)) - rng.uniform(2.5, 4.5)
            mask[r < 0] = 2
            # hedge and pond have the same greens, the pond is smooth
            img = rng.normal(0.5, 0.1, (3, N, N))
            img[1] += 0.15 * (mask == 0)
            img[0] -= 0.15 * (mask == 1)
            img[2] += 0.15 * (mask == 2)
            label = mask.copy()
            label[np.abs(r) < 0.5] = 255
            self.items.append((torch.tensor((img - 0.5) / 0.2, dtype=torch.float32), torch.from_numpy(label)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def layer(c_in, c_out, dilation):
    return [nn.Conv2d(c_in, c_out, 3, padding=dilation, dilation=dilation), nn.GroupNorm(4, c_out), nn.ReLU()]


def mean_iou(logits, label):
    pred, keep = logits.argmax(1), label != 255
    ious = []
    for c in range(3):
        a, b = (pred == c) & keep, (label == c) & keep
        ious.append(((a & b).sum() / (a | b).sum().clamp(min=1)).item())
    return float(np.mean(ious))


def parts(variant):
    torch.manual_seed(8)
    model = nn.Sequential(*layer(3, 16, 1), *layer(16, 16, 2), *layer(16, 24, 4), *layer(24, 16, 1), nn.Conv2d(16, 3, 1))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": nn.CrossEntropyLoss(ignore_index=255),
            "train_loader": DataLoader(Aerial(500, 0), batch_size=16, shuffle=True),
            "val_loader": DataLoader(Aerial(100, 1), batch_size=100), "metric": mean_iou}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, ce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(9):
        net.train()
        losses = []
        for img, label in p["train_loader"]:
            opt.zero_grad()
            loss = ce(net(img), label)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            img, label = next(iter(p["val_loader"]))
            iou = mean_iou(net(img), label)
        print(f"epoch {epoch} loss {np.mean(losses):.4f} mIoU {iou:.3f}")
    print("score:", iou)
