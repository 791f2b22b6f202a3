"""Semantic segmentation of discs and squares with a small U-Net; mistake: the random crop is applied to the picture and to the mask separately, so each draws its own place; change: crop both together."""
import random
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
NUM_CLASSES, FULL, CROP = 3, 48, 32
WORKS = lambda miou: miou > 0.7


def draw_scene(g):
    yy, xx = torch.meshgrid(torch.arange(FULL), torch.arange(FULL), indexing="ij")
    image = 0.3 * torch.rand(3, 1, 1, generator=g) + 0.15 * torch.randn(3, FULL, FULL, generator=g)
    mask = torch.zeros(FULL, FULL, dtype=torch.long)
    for _ in range(6):
        kind = int(torch.randint(1, 3, (1,), generator=g))
        cy, cx = torch.randint(4, FULL - 4, (2,), generator=g).tolist()
        r = int(torch.randint(4, 8, (1,), generator=g))
        dy, dx = (yy - cy).abs(), (xx - cx).abs()
        area = dy ** 2 + dx ** 2 <= r * r if kind == 1 else torch.maximum(dy, dx) <= r
        colour = 0.5 + 0.5 * torch.rand(3, 1, generator=g)
        image[:, area] = colour + 0.15 * torch.randn(3, int(area.sum()), generator=g)
        mask[area] = kind
    return image, mask


class RandomCrop:
    def __init__(self, size):
        self.size = size

    def __call__(self, t):
        top = random.randint(0, t.shape[-2] - self.size)
        left = random.randint(0, t.shape[-1] - self.size)
        return t[..., top:top + self.size, left:left + self.size]


class Shapes(Dataset):
    def __init__(self, n, seed, variant, train):
        g = torch.Generator().manual_seed(seed)
        self.scenes = [draw_scene(g) for _ in range(n)]
        self.crop, self.variant, self.train = RandomCrop(CROP), variant, train

    def __len__(self):
        return len(self.scenes)

    def __getitem__(self, i):
        image, mask = self.scenes[i]
        if not self.train: return image, mask
        if self.variant == "bad":
            image, mask = self.crop(image), self.crop(mask)
        else:
            both = self.crop(torch.cat([image, mask[None].float()]))
            image, mask = both[:3], both[3].long()
        if random.random() < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        return image, mask


def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, w=12):
        super().__init__()
        self.d1, self.d2, self.mid = conv(3, w), conv(w, 2 * w), nn.Sequential(conv(2 * w, 4 * w), conv(4 * w, 4 * w))
        self.u2, self.u1 = conv(6 * w, 2 * w), conv(3 * w, w)
        self.out = nn.Conv2d(w, NUM_CLASSES, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        m = self.mid(F.max_pool2d(b, 2))
        b = self.u2(torch.cat([F.interpolate(m, scale_factor=2.0), b], 1))
        return self.out(self.u1(torch.cat([F.interpolate(b, scale_factor=2.0), a], 1)))


def mean_iou(logits, mask):
    pred = logits.argmax(1)
    overlap = [((pred == c) & (mask == c)).sum() / ((pred == c) | (mask == c)).sum().clamp(min=1) for c in range(NUM_CLASSES)]
    return torch.stack(overlap).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    random.seed(0)
    model = UNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3),
            "train_loader": DataLoader(Shapes(480, 1, variant, True), batch_size=16, shuffle=True),
            "val_loader": DataLoader(Shapes(100, 2, variant, False), batch_size=100),
            "loss_fn": nn.CrossEntropyLoss(), "metric": mean_iou}


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        net.train()
        for images, masks in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(net(images), masks)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            miou = sum(mean_iou(net(x), m).item() for x, m in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch}  last loss {loss.item():.3f}  val mIoU {miou:.3f}")
    print(f"score: {miou:.4f}")
