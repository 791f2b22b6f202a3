"""Segments discs and squares (classes 0, 1, 2) with a small U-Net; mistake: the class mask goes through the image's to_tensor, which divides by 255, and .long() then makes every pixel 0; change: the mask is turned into a tensor as it is."""
import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SIZE = 32


def to_tensor(array):
    """uint8 HxW or HxWxC to float CxHxW in [0, 1]."""
    if array.ndim == 2:
        array = array[:, :, None]
    return torch.from_numpy(array.transpose(2, 0, 1).copy()).float().div(255)


def draw(rng):
    yy, xx = np.mgrid[0:SIZE, 0:SIZE]
    image = rng.integers(20, 90, (SIZE, SIZE, 3))
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(rng.integers(2, 5)):
        cx, cy, r = rng.integers(5, SIZE - 5, 2).tolist() + [rng.integers(3, 7)]
        disc = rng.random() < 0.5
        inside = (xx - cx) ** 2 + (yy - cy) ** 2 <= r * r if disc else (abs(xx - cx) < r) & (abs(yy - cy) < r)
        image[inside] = rng.integers(110, 240, 3) + rng.integers(-15, 15, (inside.sum(), 3))
        mask[inside] = 1 if disc else 2
    return image.clip(0, 255).astype(np.uint8), mask


class Shapes(Dataset):
    def __init__(self, n, seed, variant):
        rng = np.random.default_rng(seed)
        self.samples = [draw(rng) for _ in range(n)]
        self.variant = variant

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        image, mask = self.samples[i]
        target = torch.from_numpy(mask) if self.variant == "fixed" else to_tensor(mask).squeeze(0)
        return to_tensor(image), target.long()


def double_conv(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
                         nn.Conv2d(cout, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.down1, self.down2 = double_conv(3, 12), double_conv(12, 24)
        self.bottom = double_conv(24, 32)
        self.up2, self.dec2 = nn.ConvTranspose2d(32, 24, 2, 2), double_conv(48, 24)
        self.up1, self.dec1 = nn.ConvTranspose2d(24, 12, 2, 2), double_conv(24, 12)
        self.out = nn.Conv2d(12, classes, 1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.bottom(self.pool(b))
        b = self.dec2(torch.cat([self.up2(c), b], 1))
        return self.out(self.dec1(torch.cat([self.up1(b), a], 1)))


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = UNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "train_loader": DataLoader(Shapes(320, 0, variant), batch_size=16, shuffle=True),
        "val_loader": DataLoader(Shapes(80, 1, variant), batch_size=40),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, target: (out.argmax(1) == target).float().mean(),
    }


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed")
    parser.add_argument("--epochs", type=int, default=12)
    args = parser.parse_args()
    p = parts(args.variant)
    unet, opt = p["model"], p["optimizer"]
    for epoch in range(args.epochs):
        unet.train()
        for step, (image, target) in enumerate(p["train_loader"]):
            opt.zero_grad()
            loss = p["loss_fn"](unet(image), target)
            loss.backward()
            opt.step()
        unet.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](unet(x), y).item() for x, y in p["val_loader"]])
        print(f"epoch {epoch + 1}/{args.epochs} loss {loss.item():.4f} pixel accuracy {acc:.4f}")
    samples = p["val_loader"].dataset.samples
    with torch.no_grad():
        pred = unet(torch.stack([to_tensor(im) for im, _ in samples])).argmax(1).numpy()
    true = np.stack([m for _, m in samples])
    iou = [((pred == c) & (true == c)).sum() / ((pred == c) | (true == c)).sum() for c in (1, 2)]
    print(f"score: {np.mean(iou):.4f}")
