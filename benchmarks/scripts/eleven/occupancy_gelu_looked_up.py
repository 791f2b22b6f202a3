"""Occupancy of a solid (two tori and a ball) as a function of the coordinates, MLP with a skip, Adam; the nonlinearity is looked up by name with the identity as the default, and torch has no "gelu", so none is applied; change: look it up in torch.nn.functional."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CONFIG = {"width": 64, "depth": 4, "activation": "gelu", "lr": 2e-3, "epochs": 12}


def identity(x):
    return x


def inside(p):
    x, y, z = p.unbind(1)
    torus = (torch.hypot(x, y) - 0.7) ** 2 + z ** 2 < 0.09
    upright = (torch.hypot(x, z) - 0.6) ** 2 + y ** 2 < 0.07
    return (torus | upright | (p.norm(dim=1) < 0.25)).float()


def points(n, seed):
    """Half in the box, half near the surfaces, as is usual; as many inside as outside."""
    g = torch.Generator().manual_seed(seed)
    p = torch.rand(12 * n, 3, generator=g) * 2 - 1
    o = inside(p)
    keep = torch.cat([p[o == 1][: n // 2], p[o == 0][: n // 2]])
    return keep / math.sqrt(1 / 3), inside(keep)[:, None]


class OccupancyNet(nn.Module):
    def __init__(self, width, depth, act):
        super().__init__()
        self.act = act
        self.inp = nn.Linear(3, width)
        self.hidden = nn.ModuleList(nn.Linear(width + (3 if i == depth // 2 else 0), width) for i in range(depth))
        self.out = nn.Linear(width, 1)

    def forward(self, p):
        h = self.act(self.inp(p))
        for i, layer in enumerate(self.hidden):
            if i == len(self.hidden) // 2:
                h = torch.cat([h, p], -1)
            h = self.act(layer(h))
        return self.out(h)


def parts(variant):
    torch.manual_seed(0)
    where = torch if variant == "bad" else F
    act = getattr(where, CONFIG["activation"], identity)
    net = OccupancyNet(CONFIG["width"], CONFIG["depth"], act)
    return {
        "model": net,
        "optimizer": torch.optim.Adam(net.parameters(), lr=CONFIG["lr"]),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "metric": lambda out, target: ((out > 0).float() == target).float().mean().item(),
        "train_loader": DataLoader(TensorDataset(*points(8000, 1)), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*points(2000, 2)), batch_size=500),
    }


WORKS = lambda score: score > 0.9


def evaluate(net, loader, metric):
    net.eval()
    with torch.no_grad():
        values = [metric(net(x), y) for x, y in loader]
    net.train()
    return sum(values) / len(values)


def main():
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(CONFIG["epochs"]):
        for x, o in p["train_loader"]:
            loss = p["loss_fn"](net(x), o)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, round(loss.item(), 4), round(evaluate(net, p["val_loader"], p["metric"]), 4))
    print(f"score: {evaluate(net, p['val_loader'], p['metric']):.4f}")


if __name__ == "__main__":
    main()
