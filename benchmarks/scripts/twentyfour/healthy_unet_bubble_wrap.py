"""A U-Net with two levels that marks the popped bubbles in photos of bubble wrap. A sound program: masks are cut from the same scene as the image, skip connections by concatenation, batch norm, BCE with logits plus soft Dice, Adam at 2e-3. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIZE = 32


def photo(rng):
    yy, xx = np.mgrid[:SIZE, :SIZE]
    image = np.full((SIZE, SIZE), 0.5) + 0.1 * rng.normal() + 0.004 * rng.normal() * xx
    mask = np.zeros((SIZE, SIZE))
    pitch = rng.integers(9, 12)
    ox, oy = rng.integers(0, pitch, 2)
    for row, cy in enumerate(range(oy - pitch, SIZE + pitch, pitch)):
        for cx in range(ox - pitch + (row % 2) * pitch // 2, SIZE + pitch, pitch):
            r = np.hypot(yy - cy, xx - cx)
            disc = r < 3.9
            if rng.random() < 0.4:
                image[disc] += 0.12 * rng.normal(0, 1.5, disc.sum())
                mask[disc] = 1
            else:
                shine = np.exp(-((yy - cy + 1.5) ** 2 + (xx - cx + 1.5) ** 2) / 3)
                image += disc * (0.3 * shine - 0.1 * (r > 2.8))
    return image + rng.normal(0, 0.03, image.shape), mask


def photos(n, seed):
    rng = np.random.default_rng(seed)
    images, masks = zip(*(photo(rng) for _ in range(n)))
    images = (torch.tensor(np.array(images), dtype=torch.float32).unsqueeze(1) - 0.5) / 0.2
    return TensorDataset(images, torch.tensor(np.array(masks), dtype=torch.float32).unsqueeze(1))


def double_conv(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
                         nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, base=12):
        super().__init__()
        self.down1, self.down2 = double_conv(1, base), double_conv(base, 2 * base)
        self.bottom = double_conv(2 * base, 4 * base)
        self.up2 = nn.ConvTranspose2d(4 * base, 2 * base, 2, stride=2)
        self.merge2 = double_conv(4 * base, 2 * base)
        self.up1 = nn.ConvTranspose2d(2 * base, base, 2, stride=2)
        self.merge1 = double_conv(2 * base, base)
        self.out = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        c = self.bottom(F.max_pool2d(b, 2))
        b = self.merge2(torch.cat([self.up2(c), b], 1))
        a = self.merge1(torch.cat([self.up1(b), a], 1))
        return self.out(a)


def bce_dice(logits, masks):
    prob = logits.sigmoid()
    overlap = (prob * masks).sum((1, 2, 3))
    dice = (2 * overlap + 1) / (prob.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(logits, masks) + (1 - dice).mean()


def iou(logits, masks):
    found, truth = logits > 0, masks > 0.5
    return ((found & truth).sum() / (found | truth).sum().clamp(min=1)).item()


def parts(variant):
    torch.manual_seed(0)
    model = UNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": bce_dice,
            "train_loader": DataLoader(photos(320, 7), batch_size=16, shuffle=True),
            "val_loader": DataLoader(photos(64, 8), batch_size=64), "metric": iou}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(7):
        model.train()
        for images, masks in p["train_loader"]:
            loss = p["loss_fn"](model(images), masks)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        model.eval()
        with torch.no_grad():
            score = np.mean([p["metric"](model(i), m) for i, m in p["val_loader"]])
        print(f"epoch {epoch}: last loss {loss.item():.3f}, val IoU {score:.3f}")
    print("score:", score)
