"""U-Net for cells of two kinds on background; CrossEntropyLoss(ignore_index=0) though 0 is the background, so no pixel of background is ever trained and the net paints cells everywhere while its loss is near zero; the right change: no ignore_index."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def cells(n, seed, s=32):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(s), torch.arange(s), indexing="ij")
    x = torch.randn(n, 1, s, s, generator=g) * 0.25
    y = torch.zeros(n, s, s, dtype=torch.long)
    for i in range(n):
        for k in range(4):
            cx, cy = (torch.rand(2, generator=g) * (s - 8) + 4).tolist()
            r = 3.5
            d2 = (xx - cx) ** 2 + (yy - cy) ** 2
            kind = 1 + k % 2
            y[i][d2 < r * r] = kind
        x[i, 0] += torch.where(y[i] == 1, 1.0, torch.where(y[i] == 2, -1.0, 0.0))
    return x, y


class DoubleConv(nn.Sequential):
    def __init__(self, a, b):
        super().__init__(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(True), nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(True))


class TinyUNet(nn.Module):
    def __init__(self, classes=3, c=8):
        super().__init__()
        self.inc = DoubleConv(1, c)
        self.down = DoubleConv(c, 2 * c)
        self.up = DoubleConv(3 * c, c)
        self.outc = nn.Conv2d(c, classes, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down(F.max_pool2d(x1, 2))
        x2 = F.interpolate(x2, scale_factor=2, mode="bilinear", align_corners=False)
        return self.outc(self.up(torch.cat([x1, x2], 1)))


def parts(variant):
    torch.manual_seed(3)
    model = TinyUNet()
    criterion = nn.CrossEntropyLoss(ignore_index=0) if variant == "bad" else nn.CrossEntropyLoss()
    return dict(model=model, loss_fn=criterion, optimizer=torch.optim.RMSprop(model.parameters(), lr=1e-3),
                train_loader=DataLoader(TensorDataset(*cells(240, 1)), 8, shuffle=True),
                val_loader=DataLoader(TensorDataset(*cells(60, 2)), 20))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        s = 0.0
        for x, y in p["train_loader"]:
            out = model(x)
            loss = p["loss_fn"](out, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s += loss.item()
        print(f"Epoch {epoch + 1}: {s / len(p['train_loader']):.4f}")
    model.eval()
    i, u = torch.zeros(3), torch.zeros(3)
    with torch.no_grad():
        for x, y in p["val_loader"]:
            o = model(x).argmax(1)
            for c in range(3):
                i[c] += ((o == c) & (y == c)).sum(); u[c] += ((o == c) | (y == c)).sum()
    print("score:", (i / u).mean().item())
