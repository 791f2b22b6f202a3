"""Gesture classifier, a two-layer GRU in its time-first layout; bad: (batch, time, feature) is brought into (time, batch, feature) by view, so that pieces of other examples are mixed into each sequence; change: transpose."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

STEPS, AXES = 24, 3
GESTURES = ["circle", "circle_back", "swing", "shake", "rest"]


def sensor_data(n, seed):
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(0, len(GESTURES), (n,), generator=g)
    t = torch.arange(STEPS).float()
    phase = torch.rand(n, 1, generator=g) * 2 * math.pi
    slow, fast = 2 * math.pi * t / 16 + phase, 2 * math.pi * t / 4 + phase
    zero = torch.zeros(n, STEPS)
    kinds = torch.stack([
        torch.stack([slow.cos(), slow.sin(), zero], -1),
        torch.stack([slow.cos(), -slow.sin(), zero], -1),
        torch.stack([slow.sin(), zero, slow.cos()], -1),
        torch.stack([fast.sin(), zero, fast.cos()], -1),
        torch.stack([zero, zero, zero], -1)])
    x = kinds[label, torch.arange(n)] + 0.5 * torch.randn(n, STEPS, AXES, generator=g)
    return TensorDataset(x, label)


class GestureNet(nn.Module):
    def __init__(self, time_first):
        super().__init__()
        self.time_first = time_first
        self.gru = nn.GRU(AXES, 32, num_layers=2)
        self.classify = nn.Linear(32, len(GESTURES))

    def forward(self, x):
        x = self.time_first(x)
        _, h = self.gru(x)
        return self.classify(h[-1])


def by_view(x):
    batch, steps, axes = x.shape
    return x.view(steps, batch, axes)


def by_transpose(x):
    return x.transpose(0, 1)


def parts(variant):
    torch.manual_seed(0)
    model = GestureNet(by_view if variant == "bad" else by_transpose)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(sensor_data(2000, 4), batch_size=40, shuffle=True),
            "val_loader": DataLoader(sensor_data(400, 5), batch_size=40)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        net.train()
        mean = 0.0
        for x, label in p["train_loader"]:
            loss = p["loss_fn"](net(x), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean += loss.item() / len(p["train_loader"])
        net.eval()
        with torch.no_grad():
            acc = torch.cat([net(x).argmax(1) == label for x, label in p["val_loader"]]).float().mean().item()
        print(f"epoch {epoch}: loss {mean:.4f}, accuracy {acc:.3f}")
    score = acc
    print(f"score: {score:.4f}")
