"""A U-Net marks ice floes in small two-channel radar scenes; held-out IoU. Nothing odd: skip connections, BCE with logits plus soft Dice, AdamW under a one-cycle schedule stepped each batch, flips drawn once for image and mask together."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIDE, EPOCHS, PEAK = 32, 5, 4e-3


def radar_scenes(n, g):
    lin = torch.arange(SIDE).float()
    yy, xx = torch.meshgrid(lin, lin, indexing="ij")
    mask = torch.zeros(n, SIDE, SIDE)
    for _ in range(4):
        cx, cy = (torch.rand(2, n, 1, 1, generator=g) * SIDE).unbind(0)
        rx, ry = (2.5 + 5 * torch.rand(2, n, 1, 1, generator=g)).unbind(0)
        mask = torch.maximum(mask, (((xx - cx) / rx) ** 2 + ((yy - cy) / ry) ** 2 < 1).float())
    swell = 0.4 * torch.sin(0.5 * xx + 6.3 * torch.rand(n, 1, 1, generator=g))
    hh = 0.9 * mask + swell + 0.5 * torch.randn(n, SIDE, SIDE, generator=g)
    hv = 0.6 * mask + 0.5 * torch.randn(n, SIDE, SIDE, generator=g)
    return torch.stack([hh, hv], 1), mask.unsqueeze(1)


class Scenes(Dataset):
    def __init__(self, images, masks, augment):
        self.images, self.masks, self.augment = images, masks, augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, mask = self.images[i], self.masks[i]
        if self.augment and torch.rand(1) < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        return image, mask


def double(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True),
                         nn.Conv2d(c_out, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.d1, self.d2, self.mid = double(2, c), double(c, 2 * c), double(2 * c, 4 * c)
        self.up2, self.up1 = nn.ConvTranspose2d(4 * c, 2 * c, 2, 2), nn.ConvTranspose2d(2 * c, c, 2, 2)
        self.u2, self.u1 = double(4 * c, 2 * c), double(2 * c, c)
        self.out = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        m = self.mid(F.max_pool2d(b, 2))
        m = self.u2(torch.cat([self.up2(m), b], 1))
        return self.out(self.u1(torch.cat([self.up1(m), a], 1)))


def bce_dice(logits, mask):
    prob = logits.sigmoid()
    inter, total = (prob * mask).sum((1, 2, 3)), (prob + mask).sum((1, 2, 3))
    return F.binary_cross_entropy_with_logits(logits, mask) + (1 - (2 * inter + 1) / (total + 1)).mean()


def iou(logits, mask):
    pred, true = logits > 0, mask > 0.5
    return (pred & true).sum().item() / (pred | true).sum().item()


def parts(variant):
    torch.manual_seed(4)
    g = torch.Generator().manual_seed(9)
    train, val = Scenes(*radar_scenes(640, g), augment=True), Scenes(*radar_scenes(160, g), augment=False)
    model = UNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=PEAK, weight_decay=1e-2), "loss_fn": bce_dice,
            "metric": iou, "train_loader": DataLoader(train, batch_size=16, shuffle=True), "val_loader": DataLoader(val, batch_size=160)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts("fixed")
    model, optimizer, loader = p["model"], p["optimizer"], p["train_loader"]
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK, epochs=EPOCHS, steps_per_epoch=len(loader))
    for epoch in range(EPOCHS):
        model.train()
        for image, mask in loader:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(image), mask)
            loss.backward()
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            image, mask = next(iter(p["val_loader"]))
            score = p["metric"](model(image), mask)
        print(f"epoch {epoch}: loss {loss.item():.3f} IoU {score:.3f}")
    print("score:", score)
