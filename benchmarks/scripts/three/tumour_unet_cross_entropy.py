"""Tumour segmentation with one output channel; cross entropy over that single channel is always zero; change: the fixed twin uses binary cross entropy with logits."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def scans(n, seed, size=32):
    g = torch.Generator().manual_seed(seed)
    r = torch.arange(size).float()
    yy, xx = torch.meshgrid(r, r, indexing="ij")
    centre = torch.rand(n, 2, 1, 1, generator=g) * 18 + 7
    radius = torch.rand(n, 1, 1, generator=g) * 3 + 3
    dist = ((yy - centre[:, 0]) ** 2 + (xx - centre[:, 1]) ** 2).sqrt()
    mask = (dist < radius).float()
    low = F.interpolate(torch.randn(n, 1, 4, 4, generator=g), size=size, mode="bicubic", align_corners=False)[:, 0]
    fine = F.interpolate(torch.randn(n, 1, 16, 16, generator=g), size=size, mode="nearest")[:, 0]
    image = 0.5 * low + mask * fine * 1.2 + 0.2 * torch.randn(n, size, size, generator=g)
    return image.unsqueeze(1), mask.unsqueeze(1)


class UNet(nn.Module):
    def __init__(self, in_channels=1, out_channels=1, f=10):
        super().__init__()
        self.enc1 = self._double(in_channels, f)
        self.enc2 = self._double(f, 2 * f)
        self.mid = self._double(2 * f, 2 * f)
        self.up2 = nn.ConvTranspose2d(2 * f, 2 * f, 2, stride=2)
        self.dec2 = self._double(4 * f, f)
        self.up1 = nn.ConvTranspose2d(f, f, 2, stride=2)
        self.dec1 = self._double(2 * f, f)
        self.conv_last = nn.Conv2d(f, out_channels, 1)

    @staticmethod
    def _double(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(2, o), nn.ReLU(inplace=True), nn.Conv2d(o, o, 3, padding=1), nn.ReLU(inplace=True))

    def forward(self, x):
        e1 = self.enc1(x)
        e2 = self.enc2(F.max_pool2d(e1, 2))
        m = self.mid(F.max_pool2d(e2, 2))
        d2 = self.dec2(torch.cat([self.up2(m), e2], 1))
        d1 = self.dec1(torch.cat([self.up1(d2), e1], 1))
        return self.conv_last(d1)


def dice(logits, mask):
    p = (torch.sigmoid(logits) > 0.5).float()
    return (2 * (p * mask).sum() / (p.sum() + mask.sum() + 1e-6)).item()


def parts(variant):
    torch.manual_seed(0)
    model = UNet()
    criterion = nn.CrossEntropyLoss() if variant == "bad" else nn.BCEWithLogitsLoss()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": criterion,
        "train_loader": DataLoader(TensorDataset(*scans(200, 5)), batch_size=10, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*scans(50, 6)), batch_size=50),
        "metric": dice,
    }


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        epoch_loss = 0
        for img, mask in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(img), mask)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item()
        model.eval()
        with torch.no_grad():
            score = sum(dice(model(i), m) for i, m in p["val_loader"]) / len(p["val_loader"])
        print("Epoch {} loss {:.5f} dice {:.4f}".format(epoch, epoch_loss / len(p["train_loader"]), score))
    print(f"score: {score:.4f}")
