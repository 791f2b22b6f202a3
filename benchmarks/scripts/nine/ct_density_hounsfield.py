"""Bone density from a CT slice by a small CNN, SGD with momentum; the slices go in as Hounsfield units (-1000 to 700), and the loss is not a number after a few steps; change: the units are standardised by the training slices."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

S = 28


def slices(n, seed):
    g = torch.Generator().manual_seed(seed)
    rand = lambda a, b: torch.rand(n, 1, 1, generator=g) * (b - a) + a
    yy, xx = torch.meshgrid(torch.arange(S).float(), torch.arange(S).float(), indexing="ij")
    cx, cy = rand(12, 16), rand(12, 16)
    hu = torch.full((n, S, S), -1000.0)
    body = ((xx - cx) / rand(10, 12.5)) ** 2 + ((yy - cy) / rand(8, 10.5)) ** 2 < 1
    hu = torch.where(body, 40 + 25 * torch.randn(n, S, S, generator=g), hu)
    density = rand(120, 650)
    bone = ((xx - cx - rand(-2, 2)) ** 2 + (yy - cy - rand(1, 4)) ** 2).sqrt() < rand(2.5, 4.0)
    hu = torch.where(bone, density + 40 * torch.randn(n, S, S, generator=g), hu)
    hu = hu + 15 * torch.randn(n, S, S, generator=g)
    return hu.unsqueeze(1), (density.view(n, 1) - 385) / 153


class DensityNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.ModuleList([nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 24, 3, padding=1), nn.Conv2d(24, 32, 3, padding=1)])
        self.fc = nn.Linear(32 * 9, 1)

    def forward(self, x):
        for c in self.conv:
            x = F.max_pool2d(F.relu(c(x)), 2)
        return self.fc(x.flatten(1))


def parts(variant):
    torch.manual_seed(0)
    (x, y), (vx, vy) = slices(1600, 1), slices(300, 2)
    if variant == "fixed":
        mean, std = x.mean(), x.std()
        x, vx = (x - mean) / std, (vx - mean) / std
    net = DensityNet()
    return {
        "model": net,
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.003, momentum=0.9),
        "loss_fn": F.mse_loss,
        "train_loader": DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(vx, vy), batch_size=150),
    }


def evaluate(net, loader):
    net.eval()
    err, ref = 0.0, 0.0
    with torch.no_grad():
        for x, y in loader:
            err += ((net(x) - y) ** 2).sum().item()
            ref += (y ** 2).sum().item()
    return 1 - err / ref


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        for i, (x, y) in enumerate(p["train_loader"]):
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            if i % 25 == 0:
                print(f"epoch {epoch} batch {i}: loss {loss.item():.4f}")
        print(f"epoch {epoch}: R2 {evaluate(net, p['val_loader']):.3f}")
    print(f"score: {evaluate(net, p['val_loader']):.4f}")
