"""Fabric photographs named by class; each split numbers its classes by order of appearance, so validation labels mean other classes; change: the fixed twin numbers them once."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

KINDS = ["stripes", "ribs", "twill", "check", "dots", "felt", "zigzag"]


def weave(kind, g, size=20):
    yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    ph1, ph2 = (torch.rand(2, generator=g) * 2 * math.pi).tolist()
    f = 2 * math.pi / (4.0 + 2.0 * torch.rand(1, generator=g).item())
    if kind == "stripes":
        img = torch.sin(f * xx + ph1)
    elif kind == "ribs":
        img = torch.sin(f * yy + ph1)
    elif kind == "twill":
        img = torch.sin(f * (xx + yy) / 1.4 + ph1)
    elif kind == "check":
        img = torch.sign(torch.sin(f * xx + ph1) * torch.sin(f * yy + ph2))
    elif kind == "dots":
        img = ((torch.sin(f * xx + ph1) + torch.sin(f * yy + ph2)) > 1.2).float() * 2 - 0.4
    elif kind == "zigzag":
        img = torch.sin(f * (yy + (xx + ph2).remainder(8).sub(4).abs()) + ph1)
    else:
        img = torch.zeros(size, size)
    return (img + 0.6 * torch.randn(size, size, generator=g)).unsqueeze(0)


def collect(n, seed):
    """list of (name, picture), as read from disk"""
    g = torch.Generator().manual_seed(seed)
    which = torch.randint(0, len(KINDS), (n,), generator=g).tolist()
    return [(f"{KINDS[k]}_{i:04d}.png", weave(KINDS[k], g)) for i, k in enumerate(which)]


def number_classes(files):
    classes = {}
    for name, _ in files:
        classes.setdefault(name.split("_")[0], len(classes))
    return classes


class Fabrics(Dataset):
    def __init__(self, files, class_to_idx=None):
        self.files = files
        self.class_to_idx = class_to_idx or number_classes(files)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        name, picture = self.files[i]
        return picture, self.class_to_idx[name.split("_")[0]]


def parts(variant):
    torch.manual_seed(0)
    train = Fabrics(collect(700, 21))
    if variant == "bad":
        val = Fabrics(collect(210, 22))
    else:
        val = Fabrics(collect(210, 22), train.class_to_idx)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(128, len(KINDS)))
    return {"model": net, "optimizer": torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=35, shuffle=True), "val_loader": DataLoader(val, batch_size=70)}


WORKS = lambda score: score > 0.7


def run_epoch(net, loader, loss_fn, opt=None):
    net.train(opt is not None)
    loss_sum = hits = n = 0
    with torch.set_grad_enabled(opt is not None):
        for x, y in loader:
            out = net(x)
            loss = loss_fn(out, y)
            if opt is not None:
                opt.zero_grad()
                loss.backward()
                opt.step()
            loss_sum += loss.item() * len(y)
            hits += (out.argmax(1) == y).sum().item()
            n += len(y)
    return loss_sum / n, hits / n


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(10):
        tl, ta = run_epoch(p["model"], p["train_loader"], p["loss_fn"], p["optimizer"])
        vl, va = run_epoch(p["model"], p["val_loader"], p["loss_fn"])
        print(f"epoch {epoch + 1}: train {tl:.3f} / {ta:.3f}   val {vl:.3f} / {va:.3f}")
    print(f"score: {va:.4f}")
