"""Healthy: sparse parity (3 of 24 bits); the loss stays at 0.69 for many epochs and then falls all at once (no mistake)."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BITS, SUBSET = 24, (2, 11, 19)


def bits(n, gen):
    x = torch.randint(0, 2, (n, BITS), generator=gen).float() * 2 - 1
    y = (x[:, SUBSET].prod(1) > 0).float()
    return x, y


class Parity(nn.Module):
    def __init__(self, width=200):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(BITS, width), nn.Linear(width, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x))).squeeze(-1)


def parts(variant="fixed"):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(5)
    model = Parity()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.0, weight_decay=1e-4),
        "train_loader": DataLoader(TensorDataset(*bits(8000, g)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*bits(1000, g)), batch_size=500),
        "loss_fn": nn.BCEWithLogitsLoss(),
        "metric": lambda o, y: ((o > 0).float() == y).float().mean(),
    }


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=60)
    args = ap.parse_args()
    p = parts(args.variant)
    model, opt, bce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(args.epochs):
        total = 0.0
        for x, y in p["train_loader"]:
            loss = bce(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        with torch.no_grad():
            acc = torch.stack([p["metric"](model(x), y) for x, y in p["val_loader"]]).mean().item()
        if epoch % 3 == 0:
            print(f"epoch {epoch:2d} loss {total / len(p['train_loader']):.4f} acc {acc:.3f}")
    print(f"score: {acc:.4f}")
