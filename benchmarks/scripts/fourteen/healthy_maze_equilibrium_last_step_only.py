"""Healthy: a deep equilibrium network marks the cells of a maze that can be reached: one layer is run to its fixed point without gradients, and only the
last application is in the graph (Jacobian-free backward). Nothing to change."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE = 8


def mazes(n, seed):
    g = torch.Generator().manual_seed(seed)
    free = (torch.rand(n, 1, SIZE, SIZE, generator=g) > 0.42).float()
    start = F.one_hot(torch.randint(0, SIZE * SIZE, (n,), generator=g), SIZE * SIZE).view(n, 1, SIZE, SIZE).float()
    free = torch.maximum(free, start)
    cross = torch.tensor([[0.0, 1, 0], [1, 1, 1], [0, 1, 0]])[None, None]
    reached = start
    for _ in range(SIZE * SIZE // 2):
        reached = (F.conv2d(reached, cross, padding=1) > 0).float() * free
    return TensorDataset(torch.cat([free, start], 1), reached)


class Equilibrium(nn.Module):
    def __init__(self, channels=32, iterations=18):
        super().__init__()
        self.iterations = iterations
        self.inject = nn.Conv2d(2, channels, 3, padding=1)
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(4, channels)
        self.gate = nn.Conv2d(2 + channels, channels, 1)
        self.out = nn.Conv2d(channels, 1, 1)

    def cell(self, z, x, u):
        g = torch.sigmoid(self.gate(torch.cat([x, z], 1)))
        return (1 - g) * z + g * F.relu(self.norm(u + self.mix(z)))

    def forward(self, x):
        u = self.inject(x)
        z = torch.zeros_like(u)
        with torch.no_grad():
            for _ in range(self.iterations):
                z = self.cell(z, x, u)
        z = self.cell(z, x, u)
        return self.out(z)


def parts(variant):
    torch.manual_seed(0)
    model = Equilibrium()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.BCEWithLogitsLoss(),
                scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 14),
                train_loader=DataLoader(mazes(1500, 1), 50, shuffle=True), val_loader=DataLoader(mazes(300, 2), 100))


def overlap(model, loader):
    inside = union = 0
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            z = model(x) > 0
            inside += (z & (y > 0)).sum().item()
            union += (z | (y > 0)).sum().item()
    return inside / union


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(14):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        p["scheduler"].step()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.4f} overlap {overlap(model, p['val_loader']):.4f}")
    score = overlap(model, p["val_loader"])
    print(f"score: {score:.4f}")
