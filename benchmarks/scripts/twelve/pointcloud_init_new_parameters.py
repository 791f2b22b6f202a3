"""Shape of a point cloud (sphere, cube, cylinder, cone, torus) by a PointNet, SGD with momentum; init_weights is applied after the optimizer was made and puts new nn.Parameter objects into the layers, so the optimizer keeps the old ones and only biases and norms train; change: the weights are filled in place."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

POINTS = 64


def cloud(kind, n, g):
    u = torch.rand(n, POINTS, generator=g)
    v = torch.rand(n, POINTS, generator=g)
    a = 2 * math.pi * u
    if kind == 0:
        z = 2 * v - 1
        r = (1 - z * z).sqrt()
    elif kind == 1:
        p = 2 * torch.rand(n, POINTS, 3, generator=g) - 1
        face = torch.randint(0, 3, (n, POINTS, 1), generator=g)
        sign = torch.where(torch.rand(n, POINTS, 1, generator=g) < 0.5, -1.0, 1.0)
        return p.scatter(2, face, sign) * 0.75
    elif kind == 2:
        z, r = 2 * v - 1, torch.full_like(u, 0.7)
    elif kind == 3:
        z, r = 2 * v - 1, 0.9 * (1 - v)
    else:
        b = 2 * math.pi * v
        r, z = 0.75 + 0.3 * torch.cos(b), 0.3 * torch.sin(b)
    return torch.stack([r * torch.cos(a), r * torch.sin(a), z], -1)


def clouds(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.cat([cloud(k, n, g) for k in range(5)])
    y = torch.arange(5).repeat_interleave(n)
    q, _ = torch.linalg.qr(torch.randn(len(x), 3, 3, generator=g))
    x = x @ q + 0.05 * torch.randn(x.shape, generator=g)
    x = x * (0.8 + 0.4 * torch.rand(len(x), 1, 1, generator=g))
    return TensorDataset(x, y)


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.point = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128))
        self.head = nn.Sequential(nn.LayerNorm(128), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 5))

    def forward(self, x):
        return self.head(self.point(x).max(1).values)


def init_weights_new(m):
    if isinstance(m, nn.Linear):
        m.weight = nn.Parameter(nn.init.kaiming_normal_(torch.empty_like(m.weight)))


def init_weights_in_place(m):
    if isinstance(m, nn.Linear):
        nn.init.kaiming_normal_(m.weight)


def parts(variant):
    torch.manual_seed(0)
    model = PointNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    model.apply(init_weights_new if variant == "bad" else init_weights_in_place)
    return {
        "model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 12),
        "train_loader": DataLoader(clouds(400, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(clouds(100, 2), batch_size=250),
    }


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return torch.cat([(model(x).argmax(1) == y).float() for x, y in loader]).mean().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        p["scheduler"].step()
        print(epoch, f"loss {loss.item():.3f} acc {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
