"""Power of a wind turbine from a table, six ReLU layers, NAdam at 0.1 (the rate that had served SGD): within some steps the ReLUs are dead and the net answers a constant; change: 0.001."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def records(n, seed):
    rng = np.random.default_rng(seed)
    wind = rng.weibull(2.0, n) * 9
    direction = rng.uniform(0, 2 * np.pi, n)
    temp = rng.normal(10, 8, n)
    yaw = rng.normal(0, 12, n)
    turbulence = rng.uniform(0.03, 0.25, n)
    neighbour = rng.uniform(3, 9, n)
    wake = 1 - 1.2 / neighbour * np.exp(-((direction - np.pi) / 0.6) ** 2)
    effective = wind * wake * np.cos(np.deg2rad(yaw))
    power = 2000 / (1 + np.exp(-(effective - 8.5) * 0.9)) * (288 / (temp + 278)) * (1 - turbulence * 0.6)
    power[wind > 22] = 0
    x = np.stack([wind, np.sin(direction), np.cos(direction), temp, yaw, turbulence, neighbour], 1)
    return x.astype("float32"), (power + rng.normal(0, 40, n)).astype("float32")[:, None]


def tensors():
    (x, y), (vx, vy) = records(4000, 0), records(800, 1)
    m, s, ym, ys = x.mean(0), x.std(0), y.mean(), y.std()
    f = lambda a, b: TensorDataset(torch.from_numpy((a - m) / s), torch.from_numpy((b - ym) / ys))
    return f(x, y), f(vx, vy)


def build(width=64, depth=6):
    layers, last = [], 7
    for _ in range(depth):
        layers += [nn.Linear(last, width), nn.ReLU()]
        last = width
    return nn.Sequential(*layers, nn.Linear(last, 1))


def parts(variant):
    torch.manual_seed(0)
    net = build()
    train, val = tensors()
    return {
        "model": net,
        "optimizer": torch.optim.NAdam(net.parameters(), lr=0.1 if variant == "bad" else 0.001),
        "loss_fn": F.smooth_l1_loss,
        "train_loader": DataLoader(train, batch_size=64, shuffle=True),
        "val_loader": DataLoader(val, batch_size=800),
    }


def evaluate(net, loader):
    net.eval()
    with torch.no_grad():
        o, y = map(torch.cat, zip(*[(net(x), y) for x, y in loader]))
    return 1 - ((o - y) ** 2).mean().item() / y.var().item()


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        net.train()
        total = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"{epoch:3d}  loss {total / len(p['train_loader']):.4f}  R2 {evaluate(net, p['val_loader']):.3f}")
    print(f"score: {evaluate(net, p['val_loader']):.4f}")
