"""Plain deep CNN with batch norm on drawn leaves (lobes, elongation), SGD; bad: the helper that measures the running accuracy of a batch switches to model.eval() and never back, so every update is made in eval mode, with untouched running statistics; change: the helper ends with model.train()."""
import math
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIZE = 24


def draw_leaves(n, seed):
    g = torch.Generator().manual_seed(seed)
    species = torch.randint(0, 6, (n,), generator=g)
    lobes = torch.tensor([0, 3, 5, 0, 3, 5])[species].float()
    stretch = torch.tensor([1.0, 1.0, 1.0, 1.8, 1.8, 1.8])[species]
    axis = torch.linspace(-1.3, 1.3, SIZE)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    turn = torch.rand(n, generator=g) * 2 * math.pi
    cx, cy = (torch.rand(2, n, generator=g) - 0.5) * 0.3
    x = (xx[None] - cx[:, None, None])
    y = (yy[None] - cy[:, None, None])
    c, s = turn.cos()[:, None, None], turn.sin()[:, None, None]
    u, v = c * x + s * y, (-s * x + c * y) * stretch[:, None, None]
    r, phi = (u ** 2 + v ** 2).sqrt(), torch.atan2(v, u)
    edge = 0.8 * (1 + 0.3 * torch.cos(lobes[:, None, None] * phi) * (lobes > 0).float()[:, None, None])
    leaf = torch.sigmoid(12 * (edge - r))
    green = 0.5 + 0.3 * torch.rand(n, 1, 1, generator=g)
    img = torch.stack([0.4 * leaf * green, leaf * green, 0.3 * leaf * green], 1)
    img = img + 0.05 * torch.randn(img.shape, generator=g)
    return (img - 0.2) / 0.25, species


def block(cin, cout, pool):
    layers = [nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True)]
    return layers + ([nn.MaxPool2d(2)] if pool else [])


class LeafNet(nn.Module):
    def __init__(self):
        super().__init__()
        layers, cin = [], 3
        for i, c in enumerate([12, 12, 24, 24, 24, 32, 32, 32, 32, 32]):
            layers += block(cin, c, pool=i in (1, 4, 6))
            cin = c
        self.body = nn.Sequential(*layers)
        self.fc = nn.Linear(cin, 6)

    def forward(self, x):
        return self.fc(self.body(x).mean(dim=(2, 3)))


def parts(variant):
    torch.manual_seed(0)
    model = LeafNet()
    criterion = nn.CrossEntropyLoss()

    def batch_accuracy(model, x, y):
        model.eval()
        with torch.no_grad():
            acc = (model(x).argmax(1) == y).float().mean().item()
        if variant != "bad":
            model.train()
        return acc

    def step(model, batch, optimizer):
        x, y = batch
        step.accuracy = 0.95 * step.accuracy + 0.05 * batch_accuracy(model, x, y)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    step.accuracy = 0.0
    train, val = TensorDataset(*draw_leaves(1200, 1)), TensorDataset(*draw_leaves(300, 2))
    return dict(model=model, step=step, optimizer=torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
                train_loader=DataLoader(train, batch_size=32, shuffle=True, drop_last=True), val_loader=DataLoader(val, batch_size=100))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, step = p["model"], p["step"]
    for epoch in range(9):
        model.train()
        losses = [step(model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f}, running acc {step.accuracy:.3f}")
    model.eval()
    hits = total = 0
    with torch.no_grad():
        for x, y in p["val_loader"]:
            hits, total = hits + (model(x).argmax(1) == y).sum().item(), total + len(y)
    print(f"score: {hits / total:.4f}")
