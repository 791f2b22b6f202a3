"""Mixed-precision U-Net for blobs; the gradients are clipped while still multiplied by the GradScaler's 65536; change: scaler.unscale_ before clipping."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE, CLASSES = 24, 3


def blobs(n, seed):
    """class 1: discs, class 2: squares, 0: background"""
    rng = np.random.RandomState(seed)
    yy, xx = np.mgrid[:SIZE, :SIZE]
    img, msk = rng.randn(n, 1, SIZE, SIZE) * 0.25, np.zeros((n, SIZE, SIZE), int)
    for i in range(n):
        for k in (1, 2):
            cx, cy, r = rng.randint(5, SIZE - 5, 2).tolist() + [rng.randint(3, 6)]
            if k == 1:
                inside = (xx - cx) ** 2 + (yy - cy) ** 2 <= r * r
            else:
                inside = np.maximum(abs(xx - cx), abs(yy - cy)) <= r - 1
            img[i, 0][inside] = rng.uniform(0.6, 1.2) * (1 if k == 1 else -1) + rng.randn(inside.sum()) * 0.3
            msk[i][inside] = k
    return torch.tensor(img, dtype=torch.float32), torch.tensor(msk)


def double_conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(inplace=True),
                         nn.Conv2d(o, o, 3, padding=1), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, w=8):
        super().__init__()
        self.d1, self.d2 = double_conv(1, w), double_conv(w, 2 * w)
        self.up = nn.ConvTranspose2d(2 * w, w, 2, stride=2)
        self.u1 = double_conv(2 * w, w)
        self.out = nn.Conv2d(w, CLASSES, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.up(self.d2(F.max_pool2d(a, 2)))
        return self.out(self.u1(torch.cat([a, b], 1)))


def parts(variant):
    torch.manual_seed(0)
    net = UNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scaler = torch.amp.GradScaler("cpu")

    def step(net, batch, optimizer):
        x, y = batch
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = net(x)
        loss = F.cross_entropy(out.float(), y)
        scaler.scale(loss).backward()
        if variant != "bad":
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), max_norm=1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    return {"model": net, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(*blobs(400, 0)), batch_size=20, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*blobs(100, 1)), batch_size=50)}


WORKS = lambda score: score > 0.7


def mean_iou(net, loader):
    net.eval()
    inter, union = torch.zeros(CLASSES), torch.zeros(CLASSES)
    with torch.no_grad():
        for x, y in loader:
            pred = net(x).argmax(1)
            for k in range(CLASSES):
                inter[k] += ((pred == k) & (y == k)).sum()
                union[k] += ((pred == k) | (y == k)).sum()
    return (inter / union.clamp(min=1)).mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        p["model"].train()
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.4f}, mIoU {mean_iou(p['model'], p['val_loader']):.3f}")
    print(f"score: {mean_iou(p['model'], p['val_loader']):.4f}")
