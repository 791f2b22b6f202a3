"""Small photos of shoelaces in four states (bow, loop, crossed, undone), classified by a CNN with micro-batches of 8 whose gradients are gathered over 16 of them before each SGD step. The losses are not divided by 16, so the gradient is 16 times the mean at a rate chosen for a mean, and the network breaks in the first steps; the right change: (loss / self.accumulate).backward()."""
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
STATES = ("bow", "loop", "crossed", "undone")


def curve(state, t, gen):
    r = lambda s=0.08: 1 + s * torch.randn(1, generator=gen)
    if state == 0:
        return 0.8 * r() * torch.sin(t), 0.5 * r() * torch.sin(2 * t)
    if state == 1:
        return 0.55 * r() * torch.cos(t), 0.55 * r() * torch.sin(t)
    half = torch.where(t < math.pi, 1.0, -1.0)
    s = (t % math.pi) / math.pi * 2 - 1
    if state == 2:
        return 0.75 * s * r(), 0.75 * half * s * r()
    return 0.8 * s * r(), 0.3 * half * r() + 0.1 * torch.sin(3 * s)


def photos(n, gen, side=18):
    t = torch.arange(40) / 40 * 2 * math.pi
    grid = torch.linspace(-1.1, 1.1, side)
    yy, xx = torch.meshgrid(grid, grid, indexing="ij")
    images, labels = [], torch.randint(0, 4, (n,), generator=gen)
    for label in labels.tolist():
        x, y = curve(label, t, gen)
        a = 0.35 * torch.randn(1, generator=gen)
        x, y = x * a.cos() - y * a.sin(), x * a.sin() + y * a.cos()
        shift = 0.1 * torch.randn(2, generator=gen)
        d = (xx[..., None] - x - shift[0]) ** 2 + (yy[..., None] - y - shift[1]) ** 2
        images.append(torch.exp(-d.amin(-1) / 0.015))
    images = torch.stack(images)[:, None]
    return (images - 0.3) / 0.4 + 0.6 * torch.randn(images.shape, generator=gen), labels


def network():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3),
        nn.Flatten(), nn.Linear(24 * 9, 48), nn.ReLU(), nn.Linear(48, len(STATES)))


class AccumulatingStep:
    def __init__(self, variant, accumulate=16):
        self.variant, self.accumulate, self.seen = variant, accumulate, 0
        self.criterion = nn.CrossEntropyLoss()

    def __call__(self, model, batch, optimizer):
        images, labels = batch
        loss = self.criterion(model(images), labels)
        if self.variant == "bad":
            loss.backward()
        else:
            (loss / self.accumulate).backward()
        self.seen += 1
        if self.seen % self.accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()


def parts(variant):
    torch.manual_seed(4)
    gen = torch.Generator().manual_seed(4)
    x, y = photos(2448, gen)
    model = network()
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.04, momentum=0.9),
            "step": AccumulatingStep(variant),
            "train_loader": DataLoader(TensorDataset(x[:2048], y[:2048]), batch_size=8, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[2048:], y[2048:]), batch_size=400),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(5):
        mean = 0.0
        for batch in p["train_loader"]:
            mean += p["step"](p["model"], batch, p["optimizer"]).item() / len(p["train_loader"])
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y).item()
        print(f"epoch {epoch}: loss {mean:.3f} accuracy {score:.3f}")
    print("score:", score)
