"""Cell segmentation with random flips; image and mask draw their flips separately; change: the fixed twin flips both together."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def draw_cells(n, seed, size=32):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    images, masks = [], []
    for _ in range(n):
        cx, cy = (torch.rand(2, generator=g) * 0.22 + 0.1).mul(size).tolist()
        if torch.rand(1, generator=g) < 0.5:
            cx = size - 1 - cx
        if torch.rand(1, generator=g) < 0.5:
            cy = size - 1 - cy
        a, b = (torch.rand(2, generator=g) * 2.5 + 3.0).tolist()
        m = (((xx - cx) / a) ** 2 + ((yy - cy) / b) ** 2 < 1).float()
        img = 0.35 + 0.3 * m + 0.15 * torch.randn(size, size, generator=g)
        images.append(img)
        masks.append(m)
    return torch.stack(images)[:, None], torch.stack(masks)[:, None]


def random_flip(t):
    if torch.rand(1).item() < 0.5:
        t = t.flip(-1)
    if torch.rand(1).item() < 0.5:
        t = t.flip(-2)
    return t


class CellDataset(Dataset):
    def __init__(self, images, masks, augment=None):
        self.images, self.masks, self.augment = images, masks, augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        image, mask = (self.images[i] - 0.4) / 0.2, self.masks[i]
        if self.augment is not None:
            image, mask = self.augment(image, mask)
        return image, mask


def augment_each(image, mask):
    return random_flip(image), random_flip(mask)


def augment_joint(image, mask):
    both = random_flip(torch.cat([image, mask], 0))
    return both[:1], both[1:]


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))


class SmallUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1, self.d2 = block(1, 12), block(12, 24)
        self.u1 = block(24 + 12, 12)
        self.out = nn.Conv2d(12, 1, 1)
        self.pool, self.up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(self.pool(a))
        return self.out(self.u1(torch.cat([self.up(b), a], 1)))


def iou(logits, mask):
    p, m = logits > 0, mask > 0.5
    return ((p & m).sum() / (p | m).sum().clamp(min=1)).item()


def parts(variant):
    torch.manual_seed(0)
    train, val = draw_cells(240, 1), draw_cells(60, 2)
    net = SmallUNet()
    aug = augment_each if variant == "bad" else augment_joint
    return {
        "model": net,
        "optimizer": torch.optim.RMSprop(net.parameters(), lr=2e-3),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "train_loader": DataLoader(CellDataset(*train, augment=aug), batch_size=16, shuffle=True),
        "val_loader": DataLoader(CellDataset(*val), batch_size=60),
        "metric": iou,
    }


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    for epoch in range(14):
        net.train()
        losses = []
        for x, m in p["train_loader"]:
            loss = p["loss_fn"](net(x), m)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            value = sum(iou(net(x), m) for x, m in p["val_loader"]) / len(p["val_loader"])
        print(f"[{epoch:02d}] loss={sum(losses) / len(losses):.4f} val IoU={value:.4f}")
    print(f"score: {value:.4f}")
