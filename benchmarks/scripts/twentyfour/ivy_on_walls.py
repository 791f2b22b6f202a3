"""Small U-Net that marks ivy on photographs of brick walls. The masks are read as grey pictures, 0 and 255, and go so into BCEWithLogitsLoss, so the loss falls far below zero, the logits grow without end and much too much of the wall is called ivy; the right change: divide the masks by 255."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE = 32


def wall(rng):
    yy, xx = np.mgrid[:SIZE, :SIZE]
    course = (yy // 5) % 2
    mortar = (yy % 5 == 0) | ((xx + 4 * course) % 9 == 0)
    photo = np.where(mortar, 185, 130) + rng.normal(0, 15, (SIZE, SIZE))
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    r, c = rng.integers(0, SIZE, 2)
    for _ in range(rng.integers(5, 16)):
        leaf = np.hypot(yy - r, xx - c) < rng.uniform(1.4, 2.8)
        mask[leaf] = 255
        r, c = np.clip(r + rng.integers(-4, 4), 0, SIZE - 1), np.clip(c + rng.integers(-4, 5), 0, SIZE - 1)
    leaves = 125 + 35 * np.sin(1.7 * yy + 2.3 * xx) + rng.normal(0, 20, photo.shape)
    photo = np.where(mask > 0, leaves, photo) + rng.normal(0, 15)
    return np.clip(photo, 0, 255).astype(np.uint8), mask


class IvyDataset(Dataset):
    def __init__(self, n, seed, mask_max=1):
        rng = np.random.default_rng(seed)
        self.items = [wall(rng) for _ in range(n)]
        self.mask_max = mask_max

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        photo, mask = self.items[i]
        image = torch.from_numpy(photo).float().unsqueeze(0) / 127.5 - 1
        return image, torch.from_numpy(mask).float().unsqueeze(0) / self.mask_max


def double_conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
                         nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.down1, self.down2, self.mid = double_conv(1, c), double_conv(c, 2 * c), double_conv(2 * c, 4 * c)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.up1 = nn.ConvTranspose2d(4 * c, 2 * c, 2, 2), nn.ConvTranspose2d(2 * c, c, 2, 2)
        self.dec2, self.dec1 = double_conv(4 * c, 2 * c), double_conv(2 * c, c)
        self.out = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(self.pool(a))
        m = self.mid(self.pool(b))
        b = self.dec2(torch.cat([b, self.up2(m)], 1))
        a = self.dec1(torch.cat([a, self.up1(b)], 1))
        return self.out(a)


def iou(logits, mask):
    pred, true = logits > 0, mask > 0
    return ((pred & true).sum() / (pred | true).sum().clamp(min=1)).item()


def parts(variant, seed=0):
    torch.manual_seed(seed)
    mask_max = 1 if variant == "bad" else 255
    model = UNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3), "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(IvyDataset(256, 0, mask_max), batch_size=16, shuffle=True),
            "val_loader": DataLoader(IvyDataset(60, 1, mask_max), batch_size=20), "metric": iou}


WORKS = lambda score: score > 0.72

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for epoch in range(9):
        p["model"].train()
        for image, mask in p["train_loader"]:
            loss = p["loss_fn"](p["model"](image), mask)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            score = float(np.mean([p["metric"](p["model"](i), m) for i, m in p["val_loader"]]))
        print(f"epoch {epoch}: loss {loss.item():.4f} iou {score:.3f}")
    print("score:", score)
