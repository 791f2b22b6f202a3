"""CNN of drawn shapes: the exponential decay meant for epochs is stepped after every batch, so the rate is gone after some dozen steps; change: stepped after each epoch."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset
from torch.optim.lr_scheduler import ExponentialLR


def shapes(n, seed, size=20):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    c = torch.rand(n, 2, generator=g) * 8 + 6
    r = torch.rand(n, generator=g) * 2 + 3
    ax = torch.arange(size).float()
    dx = (ax[None, None, :] - c[:, 0, None, None]).expand(n, size, size)
    dy = (ax[None, :, None] - c[:, 1, None, None]).expand(n, size, size)
    rr = r[:, None, None]
    disc = dx ** 2 + dy ** 2 < rr ** 2
    square = (dx.abs() < rr * 0.89) & (dy.abs() < rr * 0.89)
    cross = ((dx.abs() < 1.2) | (dy.abs() < 1.2)) & (dx.abs() < rr) & (dy.abs() < rr)
    ringed = disc & (dx ** 2 + dy ** 2 > (rr - 1.6) ** 2)
    pick = torch.stack([disc, square, cross, ringed], 1)
    img = pick[torch.arange(n), y].float() + 0.3 * torch.randn(n, size, size, generator=g)
    return TensorDataset(img.unsqueeze(1) - 0.1, y)


def build():
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(24 * 25, 48), nn.ReLU(), nn.Linear(48, 4))


def parts(variant):
    torch.manual_seed(0)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.04, momentum=0.9, nesterov=True)
    scheduler = ExponentialLR(optimizer, gamma=0.8)
    criterion = nn.CrossEntropyLoss()
    decay_every_batch = variant == "bad"

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        if decay_every_batch:
            scheduler.step()
        return loss

    return {"model": model, "optimizer": optimizer, "loss_fn": criterion, "step": step, "scheduler": scheduler,
            "decay_every_epoch": not decay_every_batch,
            "train_loader": DataLoader(shapes(2000, 21), batch_size=40, shuffle=True),
            "val_loader": DataLoader(shapes(400, 22), batch_size=100)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(10):
        model.train()
        total = sum(p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"])
        if p["decay_every_epoch"]:
            p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            acc = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / 400
        print(f"epoch {epoch + 1}/10 - loss: {total / len(p['train_loader']):.4f} - val_accuracy: {acc:.4f}")
    print(f"score: {acc:.4f}")
