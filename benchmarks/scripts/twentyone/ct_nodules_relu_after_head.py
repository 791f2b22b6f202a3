"""Encoder-decoder that marks small nodules in CT slices; the mistake (bad): the head ends in a ReLU, so BCEWithLogitsLoss gets scores that cannot be negative; change: a plain 1x1 convolution as head."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def slices(n, seed, size=32):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    img = 0.25 * torch.randn(n, size, size, generator=g)
    mask = torch.zeros(n, size, size)
    for i in range(n):
        for _ in range(3):  # vessels: long bright lines
            a, b = torch.rand(2, generator=g) * 3.14, torch.rand(1, generator=g) * size
            d = (xx - size / 2) * torch.cos(a[0]) + (yy - size / 2) * torch.sin(a[0]) + b - size / 2
            img[i] += 0.8 * torch.exp(-d ** 2 / 1.5)
        for _ in range(int(torch.randint(1, 4, (1,), generator=g))):
            cx, cy = torch.rand(2, generator=g) * (size - 8) + 4
            r = torch.rand(1, generator=g) * 1.5 + 2
            d2 = (xx - cx) ** 2 + (yy - cy) ** 2
            img[i] += 1.1 * torch.exp(-d2 / (1.2 * r * r))
            mask[i][d2 < r * r] = 1.0
    return TensorDataset(img[:, None], mask[:, None])


class ConvBlock(nn.Module):
    def __init__(self, c_in, c_out, k=3):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, k, padding=k // 2)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x):
        return F.relu(self.norm(self.conv(x)))


class NoduleNet(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.enc1 = ConvBlock(1, 12)
        self.enc2 = ConvBlock(12, 24)
        self.mid = ConvBlock(24, 24)
        self.dec = ConvBlock(24 + 12, 12)
        self.head = head

    def forward(self, x):
        a = self.enc1(x)
        b = self.mid(self.enc2(F.max_pool2d(a, 2)))
        up = F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(self.dec(torch.cat([up, a], 1)))


def parts(variant):
    torch.manual_seed(0)
    head = nn.Conv2d(12, 1, 1)
    if variant == "bad":
        head = nn.Sequential(head, nn.ReLU(inplace=True))
    model = NoduleNet(head)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(slices(500, 1), batch_size=16, shuffle=True),
        "val_loader": DataLoader(slices(120, 2), batch_size=40),
    }


def dice(model, loader):
    model.eval()
    inter = total = 0.0
    with torch.no_grad():
        for x, y in loader:
            pred = torch.sigmoid(model(x))
            inter += (pred * y).sum().item()
            total += (pred.sum() + y.sum()).item()
    return 2 * inter / max(total, 1.0)


WORKS = lambda score: score > 0.4  # soft Dice of the nodules

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(8):
        p["model"].train()
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, dice {dice(p['model'], p['val_loader']):.3f}")
    print(f"score: {dice(p['model'], p['val_loader']):.4f}")
