"""Low-rank adapters on a frozen digits classifier for rotated digits; no mistake: most parameters are frozen, half of the adapters start at zero (and the other half gets no gradient at first), and the rate is large; change: none."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

RANK = 6
WORKS = lambda score: score > 0.85         # accuracy on held-out rotated digits (before: about 0.1)


class LoRALinear(nn.Module):
    def __init__(self, base, rank=RANK, scale=1.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features ** 0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = scale

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.A.t()) @ self.B.t()


def pretrain(x, y):
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(80):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
    return net


def parts(variant="fixed"):
    torch.manual_seed(0)
    d = load_digits()
    images = torch.tensor(d.images, dtype=torch.float32) / 16
    y = torch.tensor(d.target)
    order = torch.randperm(len(y))
    images, y = images[order], y[order]
    net = pretrain(images[:1200].flatten(1), y[:1200])
    for name in ("0", "2", "4"):
        setattr(net, name, LoRALinear(getattr(net, name)))
    turned = torch.rot90(images, 1, (1, 2)).flatten(1)
    train_loader = DataLoader(TensorDataset(turned[:1200], y[:1200]), batch_size=32, shuffle=True)
    val_loader = DataLoader(TensorDataset(turned[1200:], y[1200:]), batch_size=600)
    adapters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(adapters, lr=1e-2)
    return dict(model=net, optimizer=optimizer, train_loader=train_loader, val_loader=val_loader,
                loss_fn=nn.CrossEntropyLoss(label_smoothing=0.1), metric=lambda o, t: (o.argmax(1) == t).float().mean())


def accuracy(p):
    with torch.no_grad():
        return sum(p["metric"](p["model"](x), y).item() * len(y) for x, y in p["val_loader"]) / len(p["val_loader"].dataset)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("before", round(accuracy(p), 3))
    for epoch in range(60):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        if epoch % 10 == 9:
            print("epoch", epoch + 1, "loss", round(loss.item(), 4), "val", round(accuracy(p), 3))
    print("score:", round(accuracy(p), 4))
