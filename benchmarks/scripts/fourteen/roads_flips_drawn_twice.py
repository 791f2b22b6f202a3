"""Road segmentation on drawn aerial tiles with random flips; bad: image and mask are given to the transform one after the other and each draws its own flips, so most masks do not belong to their image; change: one draw for both."""
import random
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIZE = 32


def draw_tile(g):
    axis = torch.arange(SIZE).float()
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    field = torch.randn(3, 4, 4, generator=g)
    img = 0.25 * nn.functional.interpolate(field[None], size=(SIZE, SIZE), mode="bilinear", align_corners=True)[0] + 0.4
    road = torch.zeros(SIZE, SIZE)
    for _ in range(2):
        r = torch.rand(4, generator=g)
        a, b = torch.cos(3.1416 * r[0]), torch.sin(3.1416 * r[0])
        d = a * (xx - 6 - 20 * r[1]) + b * (yy - 6 - 20 * r[2]) + 2 * torch.sin((xx + yy) / 9 + 6 * r[3])
        road = torch.maximum(road, (d.abs() < 1.8).float())
    grey = 0.55 + 0.1 * torch.rand(1, generator=g)
    img = img * (1 - road) + road * grey * torch.tensor([1.0, 1.0, 0.95])[:, None, None]
    return img + 0.08 * torch.randn(3, SIZE, SIZE, generator=g), road[None]


class RandomFlip:
    def __init__(self, p=0.5):
        self.p = p

    def __call__(self, *arrays):
        if random.random() < self.p:
            arrays = [a.flip(-1) for a in arrays]
        if random.random() < self.p:
            arrays = [a.flip(-2) for a in arrays]
        return arrays


class RoadTiles(Dataset):
    def __init__(self, n, seed, transform=None, together=True):
        g = torch.Generator().manual_seed(seed)
        self.tiles = [draw_tile(g) for _ in range(n)]
        self.transform, self.together = transform, together

    def __len__(self):
        return len(self.tiles)

    def __getitem__(self, i):
        img, mask = self.tiles[i]
        if self.transform is not None:
            if self.together:
                img, mask = self.transform(img, mask)
            else:
                (img,) = self.transform(img)
                (mask,) = self.transform(mask)
        return (img - 0.45) / 0.2, mask


def conv(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True))


class RoadNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = conv(3, 12), conv(12, 24)
        self.mid = conv(24, 24)
        self.up = conv(36, 12)
        self.out = nn.Conv2d(12, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.mid(self.down2(nn.functional.max_pool2d(a, 2)))
        b = nn.functional.interpolate(b, scale_factor=2)
        return self.out(self.up(torch.cat([a, b], 1)))


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    train = RoadTiles(500, 1, RandomFlip(), together=variant != "bad")
    val = RoadTiles(120, 2)
    net = RoadNet()
    return dict(model=net, optimizer=torch.optim.Adam(net.parameters(), lr=3e-3), loss_fn=nn.BCEWithLogitsLoss(),
                train_loader=DataLoader(train, batch_size=16, shuffle=True), val_loader=DataLoader(val, batch_size=40))


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer, bce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        net.train()
        losses = []
        for img, mask in p["train_loader"]:
            loss = bce(net(img), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: bce {sum(losses) / len(losses):.4f}")
    net.eval()
    inter = union = 0.0
    with torch.no_grad():
        for img, mask in p["val_loader"]:
            pred, true = net(img) > 0, mask > 0.5
            inter += (pred & true).sum().item()
            union += (pred | true).sum().item()
    score = inter / max(union, 1.0)
    print(f"score: {score:.4f}")
