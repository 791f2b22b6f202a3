"""Segmentation with random flips and turns; the image and its mask are turned by separate draws; change: one draw for both."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def shapes(n, seed, size=32):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    img = torch.randn(n, 1, size, size, generator=g) * 0.35
    msk = torch.zeros(n, 1, size, size)
    for i in range(n):
        for _ in range(2):
            cy, cx, r = (torch.rand(3, generator=g) * torch.tensor([22.0, 22.0, 3.0]) + torch.tensor([5.0, 5.0, 2.5])).tolist()
            inside = ((yy - cy) ** 2 + (xx - cx) ** 2) < r * r
            msk[i, 0][inside] = 1.0
    return img + msk, msk


class RandomTurn:
    def __call__(self, t):
        if torch.rand(1).item() < 0.5:
            t = torch.flip(t, [-1])
        return torch.rot90(t, int(torch.randint(0, 4, (1,))), [-2, -1])


class CellDataset(Dataset):
    def __init__(self, img, msk, transform=None, joint=False):
        self.img, self.msk, self.transform, self.joint = img, msk, transform, joint

    def __len__(self):
        return len(self.img)

    def __getitem__(self, i):
        x, y = self.img[i], self.msk[i]
        if self.transform is not None:
            if self.joint:
                x, y = self.transform(torch.cat([x, y])).chunk(2)
            else:
                x, y = self.transform(x), self.transform(y)
        return x, y


def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class SmallUNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.d1, self.d2, self.mid = conv(1, c), conv(c, 2 * c), conv(2 * c, 2 * c)
        self.u2, self.u1, self.out = conv(4 * c, c), conv(2 * c, c), nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        m = self.mid(F.max_pool2d(b, 2))
        m = self.u2(torch.cat([F.interpolate(m, scale_factor=2), b], 1))
        m = self.u1(torch.cat([F.interpolate(m, scale_factor=2), a], 1))
        return self.out(m)


def iou(logits, y):
    p = logits > 0
    inter, union = (p & (y > 0)).sum().item(), (p | (y > 0)).sum().item()
    return inter / max(union, 1)


def parts(variant):
    torch.manual_seed(0)
    train = CellDataset(*shapes(320, 1), transform=RandomTurn(), joint=variant != "bad")
    val = CellDataset(*shapes(100, 2))
    net = SmallUNet()
    return {"model": net, "optimizer": torch.optim.RMSprop(net.parameters(), lr=1e-3), "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(train, batch_size=16, shuffle=True), "val_loader": DataLoader(val, batch_size=50), "metric": iou}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        net.train()
        tot = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = crit(net(x), y)
            loss.backward()
            opt.step()
            tot += loss.item() * len(x)
        net.eval()
        with torch.no_grad():
            v = [p["metric"](net(x), y) for x, y in p["val_loader"]]
        print(f"[{epoch + 1:02d}] loss {tot / 320:.4f}  IoU {sum(v) / len(v):.4f}")
    print(f"score: {sum(v) / len(v):.4f}")
