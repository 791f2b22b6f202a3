"""Healthy: parity of three hidden bits out of 24; the loss lies at ln 2 for a long while and then falls at once; change: none."""
import sys

import torch
import torch.nn as nn

BITS, SECRET = 24, (3, 11, 17)
WORKS = lambda score: score > 0.95


def draw(n, gen):
    x = torch.randint(0, 2, (n, BITS), generator=gen).float() * 2 - 1
    y = (x[:, SECRET].prod(dim=1) > 0).float()
    return x, y


def parts(variant="fixed", steps=6000):
    torch.manual_seed(26)
    gen = torch.Generator().manual_seed(26)
    model = nn.Sequential(nn.Linear(BITS, 192), nn.ReLU(), nn.Linear(192, 1), nn.Flatten(0))
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.08, momentum=0.0),
            "train_loader": [draw(64, gen) for _ in range(steps)],
            "val_loader": [draw(2000, gen)],
            "loss_fn": nn.BCEWithLogitsLoss(),
            "metric": lambda out, y: ((out > 0).float() == y).float().mean().item()}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    smooth = 0.693
    for i, (x, y) in enumerate(p["train_loader"]):
        loss = criterion(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        smooth = 0.99 * smooth + 0.01 * loss.item()
        if i % 500 == 0:
            print(f"step {i}: {smooth:.4f}")
    with torch.no_grad():
        x, y = p["val_loader"][0]
        print(f"score: {p['metric'](model(x), y):.4f}")
