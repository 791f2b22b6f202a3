"""Orientation of noisy gratings; the exponential schedule meant for epochs is stepped after every batch; change: the fixed twin steps it once an epoch."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ANGLES = 8


def gratings(n, seed, size=20):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, ANGLES, (n,), generator=g)
    theta = (y.float() * math.pi / ANGLES).view(-1, 1, 1)
    phase = torch.rand(n, 1, 1, generator=g) * 2 * math.pi
    freq = (2 * math.pi / 5) * (0.8 + 0.4 * torch.rand(n, 1, 1, generator=g))
    r = torch.arange(size).float()
    yy, xx = torch.meshgrid(r, r, indexing="ij")
    img = torch.cos(freq * (xx * theta.cos() + yy * theta.sin()) + phase) + 0.8 * torch.randn(n, size, size, generator=g)
    return img.unsqueeze(1), y


def conv_net():
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(24 * 25, 64), nn.ReLU(), nn.Linear(64, ANGLES))
    for m in net:
        if isinstance(m, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
            nn.init.zeros_(m.bias)
    nn.init.normal_(net[-1].weight, std=0.01)
    return net


def parts(variant):
    torch.manual_seed(0)
    net = conv_net()
    opt = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    sched = torch.optim.lr_scheduler.ExponentialLR(opt, gamma=0.8)
    criterion = nn.CrossEntropyLoss()
    loader = DataLoader(TensorDataset(*gratings(1200, 1)), batch_size=40, shuffle=True)
    seen = {"batches": 0}

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        seen["batches"] += 1
        every = 1 if variant == "bad" else len(loader)
        if seen["batches"] % every == 0:
            sched.step()
        return loss

    return {"model": net, "optimizer": opt, "scheduler": sched, "loss_fn": criterion, "step": step,
            "train_loader": loader, "val_loader": DataLoader(TensorDataset(*gratings(400, 2)), batch_size=200)}


WORKS = lambda score: score > 0.65

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    for epoch in range(12):
        net.train()
        loss_sum = 0.0
        for batch in p["train_loader"]:
            loss_sum += p["step"](net, batch, p["optimizer"]).item()
        net.eval()
        with torch.no_grad():
            ok = sum((net(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
        acc = ok / 400
        print(f"epoch {epoch}: loss {loss_sum / len(p['train_loader']):.4f}, val acc {acc:.4f}")
    print(f"score: {acc:.4f}")
