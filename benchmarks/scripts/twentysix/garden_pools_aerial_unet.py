"""A small U-Net marks swimming pools in aerial photos of gardens. The network ends in a sigmoid and the loss is nn.BCEWithLogitsLoss, which applies a second one, so a probability cannot fall below a half in the loss and the rare pool pixels are given up; the right change: nn.BCELoss() for this network (or drop its sigmoid)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class AerialGardens(Dataset):
    def __init__(self, n, seed, size=28):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:size, 0:size]
        self.images = np.empty((n, 3, size, size), np.float32)
        self.masks = np.zeros((n, 1, size, size), np.float32)
        for k in range(n):
            coarse = rng.normal(0, 0.08, (3, 7, 7)).repeat(4, 1).repeat(4, 2)
            img = np.array([0.32, 0.42, 0.28])[:, None, None] + coarse
            for _ in range(rng.integers(1, 4)):
                x0, y0 = rng.integers(0, size - 8, 2)
                w, h = rng.integers(5, 10, 2)
                img[:, y0:y0 + h, x0:x0 + w] = np.array([0.45, 0.42, 0.46])[:, None, None] + rng.normal(0, 0.08, (3, 1, 1))
            for pool in [True] * rng.integers(1, 3) + [False] * rng.integers(0, 3):
                cx, cy = rng.uniform(3, size - 3, 2)
                a, b, turn = rng.uniform(1.8, 3.6), rng.uniform(1.2, 2.2), rng.uniform(0, np.pi)
                u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
                v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
                shape = (np.maximum(abs(u) / a, abs(v) / b) if rng.random() < 0.5 else np.hypot(u / a, v / b)) < 1
                water = [0.22, 0.56, 0.62] if pool else [0.45, 0.45, 0.62]
                img[:, shape] = (np.array(water) + rng.normal(0, 0.05, 3))[:, None]
                self.masks[k, 0][shape] = float(pool)
            self.images[k] = img + rng.normal(0, 0.08, img.shape)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i]), torch.from_numpy(self.masks[i])


def double_conv(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU(inplace=True),
                         nn.Conv2d(cout, cout, 3, padding=1), nn.ReLU(inplace=True))


class SmallUNet(nn.Module):
    def __init__(self, base=6):
        super().__init__()
        self.down1, self.down2 = double_conv(3, base), double_conv(base, 2 * base)
        self.bottom = double_conv(2 * base, 4 * base)
        self.up2, self.up1 = double_conv(6 * base, 2 * base), double_conv(3 * base, base)
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2)
        self.last = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        d1 = self.down1(x)
        d2 = self.down2(self.pool(d1))
        x = self.bottom(self.pool(d2))
        x = self.up2(torch.cat([self.up(x), d2], dim=1))
        x = self.up1(torch.cat([self.up(x), d1], dim=1))
        return torch.sigmoid(self.last(x))


def iou(outputs, masks):
    pred, truth = outputs > 0.5, masks > 0.5
    return ((pred & truth).sum() / (pred | truth).sum().clamp(min=1)).item()


def parts(variant):
    torch.manual_seed(23)
    model = SmallUNet()
    return {"model": model, "loss_fn": nn.BCEWithLogitsLoss() if variant == "bad" else nn.BCELoss(), "metric": iou,
            "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "train_loader": DataLoader(AerialGardens(500, 0), batch_size=10, shuffle=True),
            "val_loader": DataLoader(AerialGardens(150, 1), batch_size=150)}


WORKS = lambda score: score > 0.4

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(6):
        net.train()
        epoch_loss = 0
        for imgs, true_masks in p["train_loader"]:
            loss = criterion(net(imgs), true_masks)
            epoch_loss += loss.item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            imgs, true_masks = next(iter(p["val_loader"]))
            score = iou(net(imgs), true_masks)
        print(f"epoch {epoch + 1}: loss {epoch_loss / len(p['train_loader']):.4f}, val IoU {score:.3f}")
    print("score:", score)
