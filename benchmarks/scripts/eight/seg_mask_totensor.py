"""U-Net segmentation of cells/debris/background; the class-index masks go through the same to_tensor (division by 255) as the images, so every mask becomes class 0; change: `fixed` turns masks into long tensors without scaling."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

WORKS = lambda score: score > 0.6          # mean IoU of the two foreground classes
EPOCHS = 12


def draw(rng, size=48):
    img = rng.normal(90, 12, (size, size, 1)).repeat(3, 2)
    mask = np.zeros((size, size), np.uint8)
    yy, xx = np.mgrid[:size, :size]
    for _ in range(rng.integers(2, 5)):
        cy, cx, r = rng.integers(6, size - 6), rng.integers(6, size - 6), rng.integers(4, 8)
        disc = (yy - cy) ** 2 + (xx - cx) ** 2 < r * r
        img[disc] += [70, 10, 40]
        mask[disc] = 1
    for _ in range(rng.integers(1, 4)):
        y, x, h, w = rng.integers(2, size - 12), rng.integers(2, size - 12), rng.integers(4, 9), rng.integers(4, 9)
        img[y:y + h, x:x + w] += [-30, 60, -10]
        mask[y:y + h, x:x + w] = 2
    img += rng.normal(0, 15, img.shape)
    return img.clip(0, 255).astype(np.uint8), mask


def to_tensor(pic):
    if pic.ndim == 2:
        pic = pic[:, :, None]
    t = torch.from_numpy(pic.transpose(2, 0, 1).copy())
    return t.float().div(255) if t.dtype == torch.uint8 else t


def as_mask(pic):
    return torch.from_numpy(pic.astype(np.int64))[None]


class CellDataset(Dataset):
    def __init__(self, n, seed, target_transform):
        rng = np.random.default_rng(seed)
        self.items = [draw(rng) for _ in range(n)]
        self.target_transform = target_transform

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        img, mask = self.items[i]
        return to_tensor(img), self.target_transform(mask).squeeze(0).long()


def double_conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
                         nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, n_classes=3, c=12):
        super().__init__()
        self.inc, self.d1, self.d2 = double_conv(3, c), double_conv(c, 2 * c), double_conv(2 * c, 4 * c)
        self.up1, self.u1 = nn.ConvTranspose2d(4 * c, 2 * c, 2, 2), double_conv(4 * c, 2 * c)
        self.up2, self.u2 = nn.ConvTranspose2d(2 * c, c, 2, 2), double_conv(2 * c, c)
        self.pool, self.outc = nn.MaxPool2d(2), nn.Conv2d(c, n_classes, 1)

    def forward(self, x):
        a = self.inc(x)
        b = self.d1(self.pool(a))
        h = self.d2(self.pool(b))
        h = self.u1(torch.cat([b, self.up1(h)], 1))
        return self.outc(self.u2(torch.cat([a, self.up2(h)], 1)))


def pixel_acc(out, target):
    return (out.argmax(1) == target).float().mean().item()


def parts(variant):
    torch.manual_seed(3)
    tt = to_tensor if variant == "bad" else as_mask
    model = UNet()
    return {"model": model, "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3, momentum=0.9),
            "train_loader": DataLoader(CellDataset(160, 0, tt), batch_size=16, shuffle=True),
            "val_loader": DataLoader(CellDataset(32, 1, tt), batch_size=16),
            "loss_fn": nn.CrossEntropyLoss(), "metric": pixel_acc}


if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    net, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(EPOCHS):
        net.train()
        for x, y in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = crit(net(x), y)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            va = np.mean([pixel_acc(net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch} loss {loss.item():.4f} val pixel acc {va:.3f}")
    test = CellDataset(48, 2, as_mask)
    with torch.no_grad():
        pred = torch.cat([net(x).argmax(1) for x, _ in DataLoader(test, 16)])
    true = torch.stack([y for _, y in test])
    ious = [((pred == c) & (true == c)).sum() / ((pred == c) | (true == c)).sum().clamp(min=1) for c in (1, 2)]
    print("score: %.4f" % torch.stack(ious).mean().item())
