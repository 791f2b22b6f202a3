"""Sound: a tiny U-Net marks the burnt spots on photographs of pancakes. Nothing odd: logits, BCE plus soft dice on their sigmoid, one skip connection; burnt spots are few pixels, which is what the dice part is for. Score: intersection over union on held-out pancakes."""
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
N = 32


def pancake(rng):
    yy, xx = np.mgrid[0:N, 0:N]
    cx, cy = N / 2 + rng.uniform(-2, 2, 2)
    disc = (xx - cx) ** 2 + (yy - cy) ** 2 < rng.uniform(11, 14) ** 2
    img = np.zeros((3, N, N)) + rng.uniform(0.2, 0.9)
    img = np.where(disc, np.array([0.85, 0.65, 0.35])[:, None, None] * rng.uniform(0.8, 1.1), img)
    mask = np.zeros((N, N), bool)
    for _ in range(rng.integers(1, 5)):
        a, r = rng.uniform(0, 2 * np.pi), rng.uniform(0, 9)
        sx, sy = cx + r * np.cos(a), cy + r * np.sin(a)
        mask |= (((xx - sx) / rng.uniform(1.5, 4)) ** 2 + ((yy - sy) / rng.uniform(1.5, 4)) ** 2) < 1
    mask &= disc
    img = np.where(mask, img * rng.uniform(0.35, 0.6), img)
    berry = ((xx - cx - rng.uniform(-8, 8)) ** 2 + (yy - cy - rng.uniform(-8, 8)) ** 2 < 5) & ~mask
    img = np.where(berry, np.array([0.25, 0.2, 0.5])[:, None, None], img)
    return img + rng.normal(0, 0.06, img.shape), mask


def double(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(),
                         nn.Conv2d(cout, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


class SmallUNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.middle = double(3, 12), double(12, 24)
        self.up = nn.ConvTranspose2d(24, 12, 2, stride=2)
        self.join, self.out = double(24, 12), nn.Conv2d(12, 1, 1)

    def forward(self, x):
        skip = self.down(x)
        low = self.middle(F.max_pool2d(skip, 2))
        return self.out(self.join(torch.cat([skip, self.up(low)], 1)))


def bce_dice(logits, mask):
    prob = logits.sigmoid()
    overlap = (prob * mask).sum((1, 2, 3))
    dice = (2 * overlap + 1) / (prob.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)
    return F.binary_cross_entropy_with_logits(logits, mask) + (1 - dice).mean()


def iou(logits, mask):
    pred, truth = logits > 0, mask > 0.5
    return (pred & truth).sum() / (pred | truth).sum().clamp(min=1)


def parts(variant):
    torch.manual_seed(1)
    rng = np.random.default_rng(77)
    images, masks = zip(*(pancake(rng) for _ in range(620)))
    x = (torch.tensor(np.stack(images), dtype=torch.float32) - 0.5) / 0.25
    y = torch.tensor(np.stack(masks), dtype=torch.float32)[:, None]
    model = SmallUNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": bce_dice, "metric": iou,
            "train_loader": DataLoader(TensorDataset(x[:500], y[:500]), batch_size=20, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[500:], y[500:]), batch_size=120)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(5):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y).item()
        print(f"epoch {epoch}: loss {loss.item():.3f}, IoU {score:.3f}")
    print("score:", score)
