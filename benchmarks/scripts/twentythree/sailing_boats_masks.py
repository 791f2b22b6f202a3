"""Segments the sails in small seascapes with an encoder-decoder network. The mistake: the list of pictures and the list of masks are each shuffled with its own random.shuffle before the split, so picture and mask no longer belong together and the network learns only the average mask; the right change: shuffle the pairs (zip) together."""
import random
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def seascape(rng, size=24):
    img = np.zeros((3, size, size), dtype=np.float32)
    horizon = rng.integers(8, 16)
    img[2, :horizon], img[1, :horizon] = 0.8, 0.6
    img[2, horizon:], img[1, horizon:] = 0.5, 0.25
    mask = np.zeros((size, size), dtype=np.float32)
    yy, xx = np.mgrid[:size, :size]
    for _ in range(rng.integers(1, 4)):
        x0, base, h = rng.integers(3, size - 6), rng.integers(horizon - 2, size - 2), rng.integers(6, 12)
        sail = (yy <= base) & (yy > base - h) & (xx >= x0) & (xx - x0 <= (yy - base + h) * 0.6)
        mask[sail] = 1
        img[:, sail] = rng.uniform(0.6, 1.0, (3, 1)) * np.array([[1], [0.9], [0.7]])
    # gulls and foam are white, too, but small
    for _ in range(8):
        y, x = rng.integers(0, size, 2)
        img[:, y, x] = 0.95
    return (img + 0.05 * rng.standard_normal(img.shape)).astype(np.float32), mask[None]


class Seascapes(Dataset):
    def __init__(self, images, masks):
        self.images, self.masks = images, masks

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]), torch.from_numpy(self.masks[i])


class SailNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc1 = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.enc2 = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU())
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.dec = nn.Sequential(nn.Conv2d(36, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 1))

    def forward(self, x):
        a = self.enc1(x)
        b = self.enc2(a)
        return self.dec(torch.cat([a, self.up(b)], 1))


def iou(out, y):
    pred = out > 0
    inter = (pred & (y > 0.5)).sum().item()
    return inter / max((pred | (y > 0.5)).sum().item(), 1)


def load(variant):
    rng = np.random.default_rng(9)
    pairs = [seascape(rng) for _ in range(500)]
    random.seed(9)
    if variant == "bad":
        images, masks = [a for a, _ in pairs], [b for _, b in pairs]
        random.shuffle(images)
        random.shuffle(masks)
    else:
        random.shuffle(pairs)
        images, masks = [a for a, _ in pairs], [b for _, b in pairs]
    return images, masks


def parts(variant):
    torch.manual_seed(9)
    images, masks = load(variant)
    rng = np.random.default_rng(10)
    test = [seascape(rng) for _ in range(80)]       # the hand-checked set, kept in its own folder
    net = SailNet()
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=3e-3), "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(Seascapes(images, masks), batch_size=20, shuffle=True),
            "val_loader": DataLoader(Seascapes([a for a, _ in test], [b for _, b in test]), batch_size=80), "metric": iou}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        losses = []
        for x, m in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), m)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            score = np.mean([iou(net(x), m) for x, m in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(losses):.3f} IoU {score:.3f}")
    print("score:", score)
