"""Net for corridor pictures with two heads, disparity and floor segmentation. The disparity is standardised and then only entries above zero count in the loss (meant to leave out missing ones, which are zero), so that everything below the mean is never trained; the right change: leave out only the entries that are exactly zero.
Report: https://github.com/isl-org/MultiObjectiveOptimization/issues/7"""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
H = W = 24


def corridor(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:H, :W]
    img = np.zeros((n, 3, H, W), np.float32)
    disp = np.zeros((n, H, W), np.float32)
    floor = np.zeros((n, H, W), np.float32)
    for k in range(n):
        hor, vx = rng.uniform(8, 14), rng.uniform(8, 16)
        r = np.maximum(np.abs(xx - vx) / 1.3, np.abs(yy - hor))
        d = 5 + 4 * r
        fl = (yy - hor) >= np.abs(xx - vx) / 1.3
        bx, by, s = rng.integers(0, W - 7), rng.integers(0, H - 7), rng.integers(4, 8)
        near = rng.uniform(30, 60)
        d[by:by + s, bx:bx + s] = near  # a box
        fl[by:by + s, bx:bx + s] = False
        img[k, 0] = 1 / (1 + np.exp(-(d - 30) / 12))  # far away is dark
        img[k, 1] = np.where(fl, 0.7, 0.4)
        img[k, 2] = 0.5 + 0.2 * np.sin(d / 3)
        img[k] += 0.04 * rng.standard_normal((3, H, W))
        d[rng.random((H, W)) < 0.1] = 0  # holes of the matcher
        disp[k], floor[k] = d, fl
    return img, disp, floor


class TwoHeads(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        conv = lambda i, o, d=1: nn.Sequential(nn.Conv2d(i, o, 3, padding=d, dilation=d, bias=False), nn.BatchNorm2d(o), nn.ReLU())
        self.trunk = nn.Sequential(conv(3, c), conv(c, c, 2), conv(c, c, 4))
        self.disparity = nn.Conv2d(c, 1, 1)
        self.floor = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        f = self.trunk(x)
        return torch.cat([self.disparity(f), self.floor(f)], 1)


def load(n, seed):
    img, disp, floor = corridor(n, seed)
    valid = disp > 0
    disp = np.where(valid, (disp - 36) / 18, 0).astype(np.float32)  # mean and std of the training set
    return TensorDataset(torch.tensor(img), torch.tensor(np.stack([disp, floor], 1)))


def r2(out, target):
    d, t = out[:, 0], target[:, 0]
    ok = t != 0
    return 1 - ((d - t)[ok] ** 2).mean().item() / t[ok].var().item()


def parts(variant):
    torch.manual_seed(0)
    model = TwoHeads()

    def loss_fn(out, target):
        t = target[:, 0]
        mask = (t > 0) if variant == "bad" else (t != 0)
        depth = F.l1_loss(out[:, 0][mask], t[mask])
        return depth + 0.5 * F.binary_cross_entropy_with_logits(out[:, 1], target[:, 1])

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": loss_fn,
            "train_loader": DataLoader(load(256, 1), batch_size=16, shuffle=True),
            "val_loader": DataLoader(load(64, 2), batch_size=32), "metric": r2}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    for epoch in range(12):
        net.train()
        tot = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            p["optimizer"].step()
            tot += loss.item()
        net.eval()
        with torch.no_grad():
            val = np.mean([r2(net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {tot / len(p['train_loader']):.4f}, disparity R2 {val:.3f}")
    print("score:", val)
