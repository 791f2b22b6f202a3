"""Healthy: digits with 40 % of the training labels replaced and label smoothing; the training loss stays high, validation is good; nothing to change."""
import sys
import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

def load_digits(n=1797, seed=1797):
    """Small written digits, 8x8 with values 0 to 16: a 5x7 font, turned, stretched, shifted and blurred by hand."""
    font = ["0e11131519110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]
    glyph = torch.tensor([[[int(f[2 * r:2 * r + 2], 16) >> (4 - c) & 1 for c in range(5)] for r in range(7)] for f in font], dtype=torch.float32)
    glyph = nn.functional.pad(glyph, (2, 1, 0, 1))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 10, (n,), generator=g)
    a = 0.15 * torch.randn(n, generator=g)
    s = 1 + 0.12 * torch.randn(n, 2, generator=g)
    t = 0.1 * torch.randn(n, 2, generator=g)
    theta = torch.stack([torch.stack([a.cos() * s[:, 0], -a.sin(), t[:, 0]], 1), torch.stack([a.sin(), a.cos() * s[:, 1], t[:, 1]], 1)], 1)
    x = nn.functional.grid_sample(glyph[y].unsqueeze(1), nn.functional.affine_grid(theta, (n, 1, 8, 8), align_corners=False), align_corners=False)[:, 0]
    x = (x * (0.8 + 0.4 * torch.rand(n, 1, 1, generator=g)) + 0.06 * torch.randn(n, 8, 8, generator=g)).clamp(0, 1) * 16
    return x.round(), y


def noisy_digits(share=0.4, seed=5):
    rng = np.random.default_rng(seed)
    images, target = (t.numpy() for t in load_digits())
    idx = rng.permutation(len(target))
    X = ((images - 4.9) / 6.0).astype(np.float32)[idx, None]
    y = target[idx].astype(np.int64)
    train_y = y[:1400].copy()
    wrong = rng.random(1400) < share
    train_y[wrong] = rng.integers(0, 10, wrong.sum())
    T = torch.from_numpy
    return TensorDataset(T(X[:1400]), T(train_y)), TensorDataset(T(X[1400:]), T(y[1400:]))


def build():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout2d(0.1),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.4),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Dropout(0.4), nn.Linear(64, 10))


def parts(variant):
    torch.manual_seed(0)
    train, val = noisy_digits()
    net = build()
    opt = optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    return {"model": net, "optimizer": opt, "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.2),
            "scheduler": optim.lr_scheduler.CosineAnnealingLR(opt, T_max=12),
            "train_loader": DataLoader(train, batch_size=50, shuffle=True), "val_loader": DataLoader(val, batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(12):
        net.train()
        loss_sum = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            p["optimizer"].step()
            loss_sum += loss.item()
        p["scheduler"].step()
        net.eval()
        with torch.no_grad():
            good = sum((net(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
        acc = good / len(p["val_loader"].dataset)
        print(f"epoch {epoch} train loss {loss_sum / len(p['train_loader']):.4f} val acc {acc:.4f}")
    print(f"score: {acc:.4f}")
