"""Surrogate of a heated plate (two source positions, conductivity -> temperature at 36 probes); the loss is a sum over batch and probes and the rate of SGD is accordingly small (1e-5); sound: sum and rate fit one another, the loss only looks large."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def plates(n, seed):
    rng = np.random.RandomState(seed)
    src = rng.uniform(0.1, 0.9, (n, 4))
    power, conduct = rng.uniform(0.5, 1.5, (n, 2)), rng.uniform(0.5, 2.0, (n, 1))
    axis = np.linspace(0.1, 0.9, 6)
    px, py = [a.ravel()[None] for a in np.meshgrid(axis, axis)]
    temp = 0
    for k in range(2):
        r2 = (px - src[:, 2 * k:2 * k + 1]) ** 2 + (py - src[:, 2 * k + 1:2 * k + 2]) ** 2
        temp = temp - power[:, k:k + 1] * np.log(r2 + 0.03) / (2 * conduct)
    x = np.concatenate([(src - 0.5) / 0.23, (power - 1) / 0.29, (conduct - 1.25) / 0.43], 1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor((temp - 1.1) / 0.7, dtype=torch.float32)


class PlateNet(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.inp = nn.Linear(7, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)) for _ in range(2))
        self.out = nn.Linear(width, 36)

    def forward(self, x):
        h = self.inp(x)
        for block in self.blocks:
            h = h + block(h)
        return self.out(h)


def parts(variant):
    torch.manual_seed(0)
    net = PlateNet()
    return dict(model=net, optimizer=torch.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9), loss_fn=nn.MSELoss(reduction="sum"),
                train_loader=DataLoader(TensorDataset(*plates(3000, 1)), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*plates(500, 2)), batch_size=250))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        total = 0.0
        for x, y in p["train_loader"]:
            loss = loss_fn(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: summed loss {total:.1f}")
    with torch.no_grad():
        pred = torch.cat([net(x) for x, _ in p["val_loader"]])
    true = torch.cat([y for _, y in p["val_loader"]])
    score = 1 - (pred - true).pow(2).sum().item() / (true - true.mean(0)).pow(2).sum().item()
    print(f"score: {score:.4f}")
