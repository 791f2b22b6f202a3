"""A U-Net marks manhole covers in road photos taken from above. The augmentation flips the photo but leaves the mask as it was, so most of the masks no longer lie on the covers; the right change: flip the mask along the same axes as the photo."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE = 32


def road_scene(g):
    ys, xs = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")
    u = lambda lo, hi: lo + (hi - lo) * torch.rand(1, generator=g).item()
    photo = torch.stack([torch.full((SIZE, SIZE), u(0.4, 0.55)) for _ in range(3)])
    lane = u(2, SIZE - 4)
    photo[:, :, int(lane):int(lane) + 2] = u(0.75, 0.9)                      # lane marking
    for _ in range(2):                                                      # oil stains
        d = ((xs - u(0, SIZE)) ** 2 + (ys - u(0, SIZE)) ** 2) / u(10, 30)
        photo -= 0.3 * torch.exp(-d)
    mask = torch.zeros(SIZE, SIZE)
    for _ in range(1 + int(u(0, 2))):
        cx, cy, r = u(4, SIZE - 4), u(4, SIZE - 4), u(3, 5)
        d = torch.sqrt((xs - cx) ** 2 + (ys - cy) ** 2)
        inside = d < r
        photo[:, inside] = torch.tensor([0.35, 0.3, 0.28])[:, None]
        photo[:, (d > r - 1.2) & inside] = 0.15                             # iron ring
        mask[inside] = 1.0
    return (photo + 0.07 * torch.randn(3, SIZE, SIZE, generator=g)).clamp(0, 1), mask[None]


class RoadPhotos(Dataset):
    def __init__(self, n, seed, transform=None):
        g = torch.Generator().manual_seed(seed)
        self.items = [road_scene(g) for _ in range(n)]
        self.transform = transform

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        photo, mask = self.items[i]
        if self.transform is not None:
            photo, mask = self.transform(photo, mask)
        return (photo - 0.45) / 0.2, mask


def random_flips(variant):
    def transform(photo, mask):
        axes = [axis for axis in (-2, -1) if torch.rand(()) < 0.5]
        if variant == "bad":
            return photo.flip(axes), mask
        return photo.flip(axes), mask.flip(axes)
    return transform


class DoubleConv(nn.Sequential):
    def __init__(self, cin, cout):
        super().__init__(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True),
                         nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, base=8):
        super().__init__()
        self.enc1, self.enc2, self.mid = DoubleConv(3, base), DoubleConv(base, 2 * base), DoubleConv(2 * base, 4 * base)
        self.up2 = nn.ConvTranspose2d(4 * base, 2 * base, 2, stride=2)
        self.dec2 = DoubleConv(4 * base, 2 * base)
        self.up1 = nn.ConvTranspose2d(2 * base, base, 2, stride=2)
        self.dec1 = DoubleConv(2 * base, base)
        self.head = nn.Conv2d(base, 1, 1)

    def forward(self, x):
        e1 = self.enc1(x)
        e2 = self.enc2(F.max_pool2d(e1, 2))
        m = self.mid(F.max_pool2d(e2, 2))
        d2 = self.dec2(torch.cat([self.up2(m), e2], 1))
        d1 = self.dec1(torch.cat([self.up1(d2), e1], 1))
        return self.head(d1)


def dice_score(logits, masks):
    pred = (logits > 0).float()
    return ((2 * (pred * masks).sum() + 1) / (pred.sum() + masks.sum() + 1)).item()


def parts(variant):
    torch.manual_seed(11)
    model = UNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3),
            "loss_fn": nn.BCEWithLogitsLoss(), "metric": dice_score,
            "train_loader": DataLoader(RoadPhotos(640, 5, random_flips(variant)), batch_size=16, shuffle=True),
            "val_loader": DataLoader(RoadPhotos(120, 6), batch_size=60)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(4):
        net.train()
        for photos, masks in p["train_loader"]:
            loss = p["loss_fn"](net(photos), masks)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            dice = sum(p["metric"](net(x), y) for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch}: train loss {loss.item():.4f}, val dice {dice:.3f}")
    print("score:", dice)
