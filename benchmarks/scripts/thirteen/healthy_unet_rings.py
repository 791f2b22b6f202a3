"""Sound: small U-Net that separates background, discs and rings in noisy pictures; cross-entropy per pixel with class weights, Adam, polynomial decay; score: mean IoU."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def scenes(n, seed, size=32):
    rng = np.random.RandomState(seed)
    yy, xx = np.mgrid[:size, :size]
    images = rng.normal(0, 0.25, (n, 1, size, size)).astype(np.float32)
    masks = np.zeros((n, size, size), dtype=np.int64)
    for i in range(n):
        for kind in (1, 2):
            cx, cy, r = rng.randint(6, 26), rng.randint(6, 26), rng.randint(3, 6)
            dist = np.hypot(xx - cx, yy - cy)
            region = dist <= r if kind == 1 else (dist <= r) & (dist > r - 2)
            masks[i][region] = kind
            images[i, 0][region] += 0.8
    return torch.from_numpy(images), torch.from_numpy(masks)


def conv(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1),
                         nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))


class UNet(nn.Module):
    def __init__(self, classes=3, w=8):
        super().__init__()
        self.enc1, self.enc2, self.mid = conv(1, w), conv(w, 2 * w), conv(2 * w, 4 * w)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.dec2, self.dec1 = conv(6 * w, 2 * w), conv(3 * w, w)
        self.final = nn.Conv2d(w, classes, 1)

    def forward(self, x):
        e1 = self.enc1(x)
        e2 = self.enc2(self.pool(e1))
        m = self.mid(self.pool(e2))
        d2 = self.dec2(torch.cat([self.up(m), e2], dim=1))
        d1 = self.dec1(torch.cat([self.up(d2), e1], dim=1))
        return self.final(d1)


def parts(variant):
    torch.manual_seed(0)
    model = UNet()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return {"model": model, "optimizer": opt,
            "scheduler": torch.optim.lr_scheduler.PolynomialLR(opt, total_iters=10, power=0.9),
            "loss_fn": nn.CrossEntropyLoss(weight=torch.tensor([0.3, 1.0, 1.0])),
            "train_loader": DataLoader(TensorDataset(*scenes(320, 1)), batch_size=8, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*scenes(60, 2)), batch_size=20)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(10):
        model.train()
        losses = []
        for img, mask in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(img), mask)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        p["scheduler"].step()
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")
    model.eval()
    inter, union = np.zeros(3), np.zeros(3)
    with torch.no_grad():
        for img, mask in p["val_loader"]:
            guess = model(img).argmax(1)
            for c in range(3):
                inter[c] += ((guess == c) & (mask == c)).sum().item()
                union[c] += ((guess == c) | (mask == c)).sum().item()
    score = (inter / union).mean()
    print(f"score: {score:.4f}")
