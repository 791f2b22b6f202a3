"""Small U-Net with Dice loss for spleens in abdominal slices. The masks come from 8-bit images with the values 0 and 255 and go into the Dice loss without being brought to 0 and 1, so that false positives hardly count, the loss goes below zero and nearly everything becomes foreground; the right change: divide the mask by 255.
Report: https://github.com/mateuszbuda/brain-segmentation-pytorch/issues/36"""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def make_slice(rng, size=32):
    yy, xx = np.mgrid[:size, :size]
    img = 60 + 15 * rng.standard_normal((size, size))
    # body
    img += 40 * (((xx - size / 2) / 14) ** 2 + ((yy - size / 2) / 13) ** 2 < 1)
    # other organs, darker than the spleen
    for _ in range(3):
        cx, cy, r = rng.uniform(6, 26), rng.uniform(6, 26), rng.uniform(2, 4)
        img += 35 * ((xx - cx) ** 2 + (yy - cy) ** 2 < r ** 2)
    cx, cy = rng.uniform(9, 23), rng.uniform(9, 23)
    a, b = rng.uniform(3, 5), rng.uniform(2, 4)
    spleen = ((xx - cx) / a) ** 2 + ((yy - cy) / b) ** 2 < 1
    img[spleen] = 190 + 15 * rng.standard_normal(spleen.sum())
    return np.clip(img, 0, 255).astype(np.uint8), (spleen * 255).astype(np.uint8)


class SliceDataset(Dataset):
    def __init__(self, n, seed, unit):
        rng = np.random.default_rng(seed)
        pairs = [make_slice(rng) for _ in range(n)]
        volume = np.stack([p[0] for p in pairs]).astype(np.float32)
        masks = np.stack([p[1] for p in pairs]).astype(np.float32)
        self.images = (volume - volume.mean()) / volume.std()
        self.masks = masks / masks.max() if unit else masks

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i][None]), torch.from_numpy(self.masks[i][None])


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
                         nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, f=8):
        super().__init__()
        self.enc1, self.enc2 = block(1, f), block(f, 2 * f)
        self.pool = nn.MaxPool2d(2)
        self.mid = block(2 * f, 4 * f)
        self.up2 = nn.ConvTranspose2d(4 * f, 2 * f, 2, stride=2)
        self.dec2 = block(4 * f, 2 * f)
        self.up1 = nn.ConvTranspose2d(2 * f, f, 2, stride=2)
        self.dec1 = block(2 * f, f)
        self.out = nn.Conv2d(f, 1, 1)

    def forward(self, x):
        e1 = self.enc1(x)
        e2 = self.enc2(self.pool(e1))
        m = self.mid(self.pool(e2))
        d2 = self.dec2(torch.cat([self.up2(m), e2], 1))
        d1 = self.dec1(torch.cat([self.up1(d2), e1], 1))
        return torch.sigmoid(self.out(d1))


class DiceLoss(nn.Module):
    def forward(self, y_pred, y_true, smooth=1.0):
        p, t = y_pred[:, 0].reshape(-1), y_true[:, 0].reshape(-1)
        return 1 - (2 * (p * t).sum() + smooth) / (p.sum() + t.sum() + smooth)


def dsc(output, target):
    p, t = (output > 0.5).float(), (target > 0).float()
    return (2 * (p * t).sum() / (p.sum() + t.sum() + 1e-6)).item()


def parts(variant):
    torch.manual_seed(0)
    norm = variant != "bad"
    model = UNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": DiceLoss(),
            "train_loader": DataLoader(SliceDataset(320, 1, norm), batch_size=16, shuffle=True),
            "val_loader": DataLoader(SliceDataset(96, 2, norm), batch_size=32), "metric": dsc}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    unet = p["model"]
    for epoch in range(10):
        unet.train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](unet(x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        unet.eval()
        with torch.no_grad():
            val = np.mean([dsc(unet(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}  val DSC {val:.3f}")
    print("score:", val)
