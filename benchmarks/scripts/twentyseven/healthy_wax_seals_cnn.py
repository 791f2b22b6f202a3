"""A convolutional network tells six wax seal emblems apart in small grey photographs (turned, shifted, noisy). Nothing odd: batch norm, SGD with Nesterov momentum and a cosine schedule stepped once an epoch."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIZE, EMBLEMS, EPOCHS = 24, 6, 4


def draw_emblems(n, g):
    """Ring, cross, bars, diamond, star and half moon on a round of wax."""
    kind = torch.randint(0, EMBLEMS, (n,), generator=g)
    lin = torch.linspace(-1, 1, SIZE)
    yy, xx = torch.meshgrid(lin, lin, indexing="ij")
    angle = (torch.rand(n, generator=g) - 0.5) * math.pi / 2
    dx, dy = (0.3 * (torch.rand(2, n, generator=g) - 0.5)).unbind(0)
    c, s = angle.cos()[:, None, None], angle.sin()[:, None, None]
    x, y = xx - dx[:, None, None], yy - dy[:, None, None]
    u, v = c * x + s * y, -s * x + c * y
    r, phi = (u ** 2 + v ** 2).sqrt(), torch.atan2(v, u)
    shapes = torch.stack([
        ((r - 0.5).abs() < 0.12),
        ((u.abs() < 0.14) | (v.abs() < 0.14)) & (r < 0.7),
        ((u * 5).sin() > 0.2) & (r < 0.7),
        (u.abs() + v.abs() < 0.55),
        (r < 0.45 + 0.25 * (5 * phi).cos()),
        (r < 0.6) & (((u - 0.3) ** 2 + v ** 2).sqrt() > 0.5),
    ], 1).float()
    img = shapes[torch.arange(n), kind] * (0.6 + 0.4 * torch.rand(n, 1, 1, generator=g))
    wax = (xx ** 2 + yy ** 2 < 0.9).float() * 0.3
    return (img + wax + 0.25 * torch.randn(n, SIZE, SIZE, generator=g)).unsqueeze(1), kind


class SealNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        layers, c_in = [], 1
        for c_out in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(), nn.MaxPool2d(2)]
            c_in = c_out
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(c_in, EMBLEMS)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def parts(variant):
    torch.manual_seed(3)
    g = torch.Generator().manual_seed(11)
    x, y = draw_emblems(2400, g)
    xv, yv = draw_emblems(600, g)
    mean, std = x.mean(), x.std()
    train, val = TensorDataset((x - mean) / std, y), TensorDataset((xv - mean) / std, yv)
    model = SealNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(train, batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(val, batch_size=200)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts("fixed")
    model, optimizer = p["model"], p["optimizer"]
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    for epoch in range(EPOCHS):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            out, true = zip(*[(model(x), y) for x, y in p["val_loader"]])
        score = p["metric"](torch.cat(out), torch.cat(true))
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.3f} accuracy {score:.3f}")
    print("score:", score)
