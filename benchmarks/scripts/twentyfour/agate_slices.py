"""Fully convolutional net that marks four layers (rock, band, core, crystal) in polished slices of agate, trained by the soft Dice loss. The one-hot mask is (batch, height, width, class) and is brought to (batch, class, height, width) by view, which scrambles it, so the net learns next to nothing; the right change: permute(0, 3, 1, 2)."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
LAYERS = ["rock", "band", "core", "crystal"]
H = W = 32


def slice_of_agate(rng):
    y, x = np.mgrid[:H, :W]
    cy, cx = rng.uniform(12, 20, 2)
    angle = np.arctan2(y - cy, x - cx)
    wobble = 1 + 0.12 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.08 * np.sin(5 * angle + rng.uniform(0, 6))
    r = np.hypot(y - cy, x - cx) / wobble
    radii = np.sort(rng.uniform([2.5, 6, 10], [4.5, 8.5, 14]))
    mask = 3 - np.searchsorted(radii, r.ravel()).reshape(H, W)
    colour = np.array([[0.35, 0.33, 0.30], [0.75, 0.45, 0.25], [0.55, 0.60, 0.75], [0.90, 0.88, 0.92]])
    img = colour[mask] + rng.normal(0, 0.05, 3) + rng.normal(0, 0.12, (H, W, 3))
    img[..., 0] += np.where(mask == 1, 0.15 * np.sin(2.2 * r), 0)
    return img.transpose(2, 0, 1), mask


def collection(n, seed):
    rng = np.random.default_rng(seed)
    images, masks = zip(*[slice_of_agate(rng) for _ in range(n)])
    return TensorDataset(torch.tensor(np.stack(images) * 2 - 1, dtype=torch.float32), torch.tensor(np.stack(masks)).long())


class AgateNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        layers, inp = [], 3
        for dilation in (1, 2, 4, 1):
            layers += [nn.Conv2d(inp, c, 3, padding=dilation, dilation=dilation), nn.GroupNorm(4, c), nn.ReLU()]
            inp = c
        self.features = nn.Sequential(*layers)
        self.classify = nn.Conv2d(c, len(LAYERS), 1)

    def forward(self, x):
        return self.classify(self.features(x))


def planes_by_view(onehot):
    b, h, w, k = onehot.shape
    return onehot.view(b, k, h, w)


def planes_by_permute(onehot):
    return onehot.permute(0, 3, 1, 2)


class SoftDiceLoss(nn.Module):
    def __init__(self, to_planes, smooth=1.0):
        super().__init__()
        self.to_planes = to_planes
        self.smooth = smooth

    def forward(self, logits, mask):
        prob = logits.softmax(dim=1)
        target = self.to_planes(F.one_hot(mask, logits.size(1)).float())
        inter = (prob * target).sum((2, 3))
        dice = (2 * inter + self.smooth) / (prob.sum((2, 3)) + target.sum((2, 3)) + self.smooth)
        return 1 - dice.mean()


def mean_iou(logits, mask):
    pred = logits.argmax(1)
    return float(np.mean([(((pred == k) & (mask == k)).sum() / ((pred == k) | (mask == k)).sum().clamp(min=1)).item()
                          for k in range(len(LAYERS))]))


def parts(variant, seed=0):
    torch.manual_seed(seed)
    model = AgateNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3), "metric": mean_iou,
            "loss_fn": SoftDiceLoss(planes_by_view if variant == "bad" else planes_by_permute),
            "train_loader": DataLoader(collection(320, 0), batch_size=16, shuffle=True),
            "val_loader": DataLoader(collection(80, 1), batch_size=40)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="bad")
    ap.add_argument("seed", nargs="?", type=int, default=0)
    args = ap.parse_args()
    p = parts(args.variant, args.seed)
    net = p["model"]
    for epoch in range(10):
        net.train()
        losses = []
        for images, masks in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(images), masks)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            score = float(np.mean([p["metric"](net(i), m) for i, m in p["val_loader"]]))
        print(f"epoch {epoch + 1}: dice loss {np.mean(losses):.3f}, mean IoU {score:.3f}")
    print("score:", score)
