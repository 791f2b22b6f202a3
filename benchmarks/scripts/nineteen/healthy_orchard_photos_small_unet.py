"""Sound: small U-Net that finds round fruit in noisy pictures, binary cross entropy with logits, Adam with ReduceLROnPlateau on the validation loss. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def photos(n, seed):
    r = np.random.RandomState(seed)
    yy, xx = np.mgrid[:24, :24]
    X, M = r.normal(0.4, 0.15, (n, 3, 24, 24)), np.zeros((n, 1, 24, 24))
    for i in range(n):
        for k in range(r.randint(1, 6)):
            disc = (yy - r.randint(3, 21)) ** 2 + (xx - r.randint(3, 21)) ** 2 < r.randint(2, 5) ** 2
            if k % 2 == 0:
                X[i, 0][disc] += 0.35
                M[i, 0][disc] = 1
            else:
                X[i, 1][disc] += 0.35
    f = lambda a: torch.tensor(a, dtype=torch.float32)
    return TensorDataset(f(X), f(M))


class UNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        conv = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())
        self.down1, self.down2, self.mid = conv(3, c), conv(c, 2 * c), conv(2 * c, 2 * c)
        self.up2, self.up1, self.out = conv(4 * c, c), conv(2 * c, c), nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        m = self.mid(F.max_pool2d(b, 2))
        u = self.up2(torch.cat([F.interpolate(m, scale_factor=2), b], 1))
        return self.out(self.up1(torch.cat([F.interpolate(u, scale_factor=2), a], 1)))


def parts(variant):
    torch.manual_seed(0)
    model = UNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return {"model": model, "loss_fn": nn.BCEWithLogitsLoss(), "optimizer": optimizer,
            "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2, factor=0.5),
            "train_loader": DataLoader(photos(500, 0), batch_size=20, shuffle=True),
            "val_loader": DataLoader(photos(100, 1), batch_size=50)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(10):
        net.train()
        losses = []
        for x, m in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(x), m)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            x, m = (torch.cat(t) for t in zip(*p["val_loader"]))
            out = net(x)
        p["scheduler"].step(p["loss_fn"](out, m))
        iou = (((out > 0) & (m > 0)).sum() / ((out > 0) | (m > 0)).sum()).item()
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} val IoU {iou:.4f}")
    print(f"score: {iou:.4f}")
