"""U-Net for the layers of small circuit boards (background, pad, via, hole, trace, silk); the augmentation turns image and mask with bilinear grid_sample, so the class numbers at every edge, and over the whole width of the thin traces, are mixed and cut to a smaller number; the right change: mode='nearest' for the mask."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE, CLASSES = 32, 6


def board(rng):
    mask = np.zeros((SIZE, SIZE), dtype=np.int64)
    yy, xx = np.mgrid[0:SIZE, 0:SIZE]
    for _ in range(2):
        r, c = rng.integers(3, SIZE - 9, 2)
        mask[r:r + 6, c:c + 5] = 1
    for _ in range(2):
        r, c = rng.integers(5, SIZE - 5, 2)
        d = np.hypot(yy - r, xx - c)
        mask[d < 3.5] = 2
        mask[d < 1.8] = 3
    for k in (4, 4, 5, 5):
        p, a = rng.integers(3, SIZE - 4), rng.integers(0, 12)
        line = np.s_[p:p + 2, a:a + 18] if rng.random() < 0.5 else np.s_[a:a + 18, p:p + 2]
        mask[line] = k
    shades = np.array([0.1, 0.8, 0.6, -0.6, 0.45, 1.0])
    hues = np.array([-0.5, 0.6, 0.1, -0.2, 0.9, -0.4])
    img = np.stack([shades[mask], hues[mask]]) + rng.normal(0, 0.12, (2, SIZE, SIZE))
    return img, mask


class Boards(Dataset):
    def __init__(self, n, seed, augment, mask_mode="bilinear"):
        rng = np.random.default_rng(seed)
        imgs, masks = zip(*[board(rng) for _ in range(n)])
        self.imgs = torch.tensor(np.stack(imgs), dtype=torch.float32)
        self.masks = torch.tensor(np.stack(masks))
        self.augment, self.mask_mode = augment, mask_mode

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        img, mask = self.imgs[i], self.masks[i]
        if self.augment:
            a = (torch.rand(1) - 0.5) * 0.6
            shift = (torch.rand(2) - 0.5) * 0.2
            theta = torch.stack([torch.cat([a.cos(), -a.sin(), shift[:1]]), torch.cat([a.sin(), a.cos(), shift[1:]])])
            grid = F.affine_grid(theta[None], (1, 1, SIZE, SIZE), align_corners=False)
            img = F.grid_sample(img[None], grid, align_corners=False)[0]
            mask = F.grid_sample(mask[None, None].float(), grid, mode=self.mask_mode, align_corners=False)[0, 0].long()
        return img, mask


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, w=12):
        super().__init__()
        self.d1, self.d2 = block(2, w), block(w, 2 * w)
        self.up = nn.ConvTranspose2d(2 * w, w, 2, stride=2)
        self.u1 = block(2 * w, w)
        self.out = nn.Conv2d(w, CLASSES, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        return self.out(self.u1(torch.cat([a, self.up(b)], 1)))


def mean_iou(out, mask):
    pred = out.argmax(1)
    ious = []
    for c in range(CLASSES):
        inter, union = ((pred == c) & (mask == c)).sum(), ((pred == c) | (mask == c)).sum()
        if union > 0:
            ious.append((inter / union).item())
    return float(np.mean(ious))


def parts(variant):
    torch.manual_seed(0)
    model = UNet()
    mode = "bilinear" if variant == "bad" else "nearest"
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Boards(400, 0, True, mode), batch_size=16, shuffle=True),
            "val_loader": DataLoader(Boards(100, 1, False), batch_size=100), "metric": mean_iou}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        losses = []
        for img, mask in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(img), mask)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            iou = np.mean([mean_iou(model(img), mask) for img, mask in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}  val mIoU {iou:.3f}")
    print("score:", iou)
