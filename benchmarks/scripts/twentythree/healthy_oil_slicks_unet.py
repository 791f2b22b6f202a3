"""Two-level U-Net that marks oil slicks in speckled radar tiles. Sound: multiplicative speckle made roughly additive by a log, standardised by the training tiles, BCE on logits plus soft Dice, flips applied to image and mask together."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def tile(rng, size=32):
    yy, xx = np.mgrid[:size, :size]
    mask = np.zeros((size, size), bool)
    for _ in range(rng.integers(1, 4)):
        cy, cx = rng.uniform(4, size - 4, 2)
        a, b, t = rng.uniform(5, 11), rng.uniform(2, 4), rng.uniform(0, np.pi)
        u = (xx - cx) * np.cos(t) + (yy - cy) * np.sin(t)
        v = -(xx - cx) * np.sin(t) + (yy - cy) * np.cos(t)
        mask |= (u / a) ** 2 + (v / b) ** 2 < 1
    sea = 1 + 0.3 * np.sin(xx / rng.uniform(3, 6) + rng.uniform(0, 6))
    power = np.where(mask, 0.3, 1.0) * sea * rng.gamma(4, 0.25, mask.shape)
    return np.log(power + 1e-3).astype(np.float32), mask.astype(np.float32)


class Tiles(Dataset):
    def __init__(self, n, seed, augment, stats=None):
        rng = np.random.default_rng(seed)
        imgs, masks = zip(*[tile(rng) for _ in range(n)])
        self.imgs, self.masks = torch.from_numpy(np.stack(imgs))[:, None], torch.from_numpy(np.stack(masks))[:, None]
        self.stats = stats or (self.imgs.mean().item(), self.imgs.std().item())
        self.imgs = (self.imgs - self.stats[0]) / self.stats[1]
        self.augment = augment

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        img, mask = self.imgs[i], self.masks[i]
        if self.augment:
            for axis in (1, 2):
                if torch.rand(1).item() < 0.5:
                    img, mask = img.flip(axis), mask.flip(axis)
        return img, mask


def double_conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
                         nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, w=10):
        super().__init__()
        self.d1, self.d2, self.mid = double_conv(1, w), double_conv(w, 2 * w), double_conv(2 * w, 4 * w)
        self.up2, self.up1 = nn.ConvTranspose2d(4 * w, 2 * w, 2, stride=2), nn.ConvTranspose2d(2 * w, w, 2, stride=2)
        self.u2, self.u1 = double_conv(4 * w, 2 * w), double_conv(2 * w, w)
        self.out = nn.Conv2d(w, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        c = self.mid(F.max_pool2d(b, 2))
        b = self.u2(torch.cat([self.up2(c), b], 1))
        a = self.u1(torch.cat([self.up1(b), a], 1))
        return self.out(a)


def bce_dice(logits, mask):
    prob = logits.sigmoid()
    inter = (prob * mask).sum((1, 2, 3))
    dice = (2 * inter + 1) / (prob.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(logits, mask) + (1 - dice).mean()


def iou(logits, mask):
    pred = logits > 0
    m = mask > 0.5
    return ((pred & m).sum() / (pred | m).sum().clamp(min=1)).item()


def parts(variant):
    torch.manual_seed(0)
    train = Tiles(500, 0, True)
    val = Tiles(100, 1, False, train.stats)
    model = UNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": bce_dice, "metric": iou,
            "train_loader": DataLoader(train, batch_size=20, shuffle=True), "val_loader": DataLoader(val, batch_size=50)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(7):
        net.train()
        losses = []
        for x, m in p["train_loader"]:
            opt.zero_grad()
            loss = bce_dice(net(x), m)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            score = np.mean([iou(net(x), m) for x, m in p["val_loader"]])
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}  IoU {score:.3f}")
    print("score:", score)
