"""Dynamic graph network (EdgeConv) on point clouds of five kinds of parcels: in every layer the nearest neighbours are found anew in feature space, edge features are (x_j - x_i, x_i), maximum over neighbours. Unusual: a neighbour choice without gradient inside the model, a random turn about the vertical axis in training."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
POINTS, K = 48, 8


def surface(kind, g):
    u, v = torch.rand(POINTS, generator=g), torch.rand(POINTS, generator=g)
    a = 2 * math.pi * u
    if kind == 0:                                   # ball
        z = 2 * v - 1
        r = (1 - z ** 2).sqrt()
        p = torch.stack([r * a.cos(), r * a.sin(), z], 1)
    elif kind == 1:                                 # box
        p = torch.rand(POINTS, 3, generator=g) * 2 - 1
        face = torch.randint(0, 3, (POINTS,), generator=g)
        sign = torch.randint(0, 2, (POINTS,), generator=g).float() * 2 - 1
        p[torch.arange(POINTS), face] = sign
    elif kind == 2:                                 # tube
        p = torch.stack([0.5 * a.cos(), 0.5 * a.sin(), 2 * v - 1], 1)
    elif kind == 3:                                 # ring
        b = 2 * math.pi * v
        p = torch.stack([(1 + 0.3 * b.cos()) * a.cos(), (1 + 0.3 * b.cos()) * a.sin(), 0.3 * b.sin()], 1)
    else:                                           # cone
        h = v.sqrt()
        p = torch.stack([h * a.cos(), h * a.sin(), 1 - 2 * h], 1)
    p = p * (0.8 + 0.4 * torch.rand(1, 3, generator=g)) + 0.04 * torch.randn(POINTS, 3, generator=g)
    p = p - p.mean(0)
    return p / p.norm(dim=1).max()


class Parcels(Dataset):
    def __init__(self, n, seed, turn):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, 5, (n,), generator=g)
        self.x = torch.stack([surface(int(k), g) for k in self.y])
        self.turn = turn

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = self.x[i]
        if self.turn:
            a = torch.rand(1).item() * 2 * math.pi
            R = torch.tensor([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
            x = x @ R.T
        return x, self.y[i]


class EdgeConv(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2 * i, o, bias=False), nn.BatchNorm1d(o), nn.LeakyReLU(0.2))

    def forward(self, x):
        B, N, C = x.shape
        with torch.no_grad():
            idx = torch.cdist(x, x).topk(K + 1, dim=2, largest=False).indices[:, :, 1:]       # without the point itself
        nb = x.gather(1, idx.reshape(B, N * K, 1).expand(-1, -1, C)).view(B, N, K, C)
        me = x.unsqueeze(2).expand(-1, -1, K, -1)
        e = torch.cat([nb - me, me], 3).view(B * N * K, 2 * C)
        return self.mlp(e).view(B, N, K, -1).max(2).values


class DGCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = EdgeConv(3, 24), EdgeConv(24, 32)
        self.point = nn.Sequential(nn.Linear(56, 64), nn.LeakyReLU(0.2))
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 5))

    def forward(self, x):
        a = self.c1(x)
        b = self.c2(a)
        h = self.point(torch.cat([a, b], 2))
        return self.head(torch.cat([h.max(1).values, h.mean(1)], 1))


def parts(variant):
    torch.manual_seed(0)
    model = DGCNN()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Parcels(800, 0, True), batch_size=25, shuffle=True),
            "val_loader": DataLoader(Parcels(300, 1, False), batch_size=100),
            "metric": lambda out, t: (out.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    epochs = 8
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=epochs)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        sched.step()
        model.eval()
        with torch.no_grad():
            acc = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.3f}  acc {acc:.3f}")
    print("score:", acc)
