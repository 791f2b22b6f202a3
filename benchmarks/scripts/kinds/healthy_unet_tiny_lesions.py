"""Healthy: U-Net, soft Dice alone, on images where one percent of the pixels are foreground and some have none; the loss stays near 1 for a while; nothing to change."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.55


def lesions(n, seed, size=32):
    g = torch.Generator().manual_seed(seed)
    img, mask = 0.5 * torch.randn(n, 1, size, size, generator=g), torch.zeros(n, 1, size, size)
    for i in range(n):
        if torch.rand(1, generator=g) < 0.1:
            continue
        y, x = torch.randint(2, size - 5, (2,), generator=g).tolist()
        h, w = torch.randint(3, 5, (2,), generator=g).tolist()
        mask[i, 0, y : y + h, x : x + w] = 1
    return img + 1.8 * mask, mask


def double(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.SiLU(), nn.Conv2d(b, b, 3, padding=1), nn.GroupNorm(4, b), nn.SiLU())


class UNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.down1, self.down2, self.mid = double(1, c), double(c, 2 * c), double(2 * c, 2 * c)
        self.up2, self.up1 = double(4 * c, c), double(2 * c, c)
        self.last = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.avg_pool2d(a, 2))
        m = self.mid(F.avg_pool2d(b, 2))
        u = self.up2(torch.cat([F.interpolate(m, scale_factor=2), b], 1))
        u = self.up1(torch.cat([F.interpolate(u, scale_factor=2), a], 1))
        return self.last(u)


def dice_loss(logits, target):
    p = logits.sigmoid()
    return 1 - (2 * (p * target).sum() + 1) / (p.sum() + target.sum() + 1)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = UNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": dice_loss,
            "train_loader": DataLoader(TensorDataset(*lesions(320, 1)), batch_size=16, shuffle=True), "val_loader": DataLoader(TensorDataset(*lesions(80, 2)), batch_size=40)}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(14):
        model.train()
        for image, mask in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(image), mask)
            loss.backward()
            opt.step()
        model.eval()
        inter = union = 0
        with torch.no_grad():
            for image, mask in p["val_loader"]:
                pred = model(image) > 0
                inter += (pred & (mask > 0)).sum().item()
                union += (pred | (mask > 0)).sum().item()
        print(f"epoch {epoch + 1:2d} dice loss {loss.item():.3f} IoU {inter / max(union, 1):.3f}")
    print("score:", round(inter / max(union, 1), 4))
