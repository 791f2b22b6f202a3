"""Small U-Net that marks puddles on pictures of a pavement. An ordinary sound script: image and mask drawn together, binary cross entropy on logits, a skip connection, Adam; the score is the intersection over union of held-out pictures."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIDE = 24


def pavement(n, gen):
    axis = torch.arange(SIDE, dtype=torch.float32)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    tiles = ((xx % 8 < 1) | (yy % 8 < 1)).float()
    masks = torch.zeros(n, 1, SIDE, SIDE)
    for mask in masks:
        for _ in range(int(torch.randint(1, 3, (1,), generator=gen))):
            cx, cy = (4 + 16 * torch.rand(2, generator=gen)).tolist()
            a, b = (2.5 + 4 * torch.rand(2, generator=gen)).tolist()
            skew = float(torch.rand(1, generator=gen) - 0.5)
            mask[0][((xx - cx + skew * (yy - cy)) / a) ** 2 + ((yy - cy) / b) ** 2 < 1] = 1.0
    light = 0.5 + 0.2 * torch.rand(n, 1, 1, 1, generator=gen)
    images = light - 0.15 * tiles - 0.12 * masks * (1 - 0.3 * tiles) - 0.15 * tiles * (1 - masks)
    images = images + 0.07 * torch.randn(images.shape, generator=gen)
    return TensorDataset((images - 0.5) / 0.17, masks)


def double_conv(a, b):
    return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.ReLU(),
                         nn.Conv2d(b, b, 3, padding=1), nn.ReLU())


class PuddleUNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.enter = double_conv(1, c)
        self.down = double_conv(c, 2 * c)
        self.up = nn.ConvTranspose2d(2 * c, c, 2, stride=2)
        self.leave = double_conv(2 * c, c)
        self.mask = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        skip = self.enter(x)
        deep = self.down(nn.functional.max_pool2d(skip, 2))
        return self.mask(self.leave(torch.cat([skip, self.up(deep)], dim=1)))


def iou(logits, masks):
    pred, true = logits > 0, masks > 0.5
    return ((pred & true).sum() / (pred | true).sum().clamp(min=1)).item()


def parts(variant):
    torch.manual_seed(9)
    gen = torch.Generator().manual_seed(90)
    train, val = pavement(600, gen), pavement(120, gen)
    model = PuddleUNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
            "loss_fn": nn.BCEWithLogitsLoss(), "metric": iou,
            "train_loader": DataLoader(train, batch_size=20, shuffle=True),
            "val_loader": DataLoader(val, batch_size=60)}


WORKS = lambda score: score > 0.65

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(5):
        model.train()
        for images, masks in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(images), masks)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            out = [(model(x), y) for x, y in p["val_loader"]]
        score = p["metric"](torch.cat([o for o, _ in out]), torch.cat([m for _, m in out]))
        print(f"epoch {epoch}: loss {loss.item():.3f}, iou {score:.3f}")
    print("score:", score)
