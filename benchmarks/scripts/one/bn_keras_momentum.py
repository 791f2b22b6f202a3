"""Digit classifier with BatchNorm(momentum=0.99), a habit from Keras: in PyTorch the running statistics then are those of the last batch alone, and the last batch of the epoch has two images, so evaluation is ruined while training is fine; the right change: momentum=0.01 (or 0.1)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def build(momentum):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16, momentum=momentum), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 64, bias=False), nn.BatchNorm1d(64, momentum=momentum), nn.ReLU(),
        nn.Linear(64, 64, bias=False), nn.BatchNorm1d(64, momentum=momentum), nn.ReLU(),
        nn.Linear(64, 10))


def parts(variant):
    torch.manual_seed(0)
    digits = load_digits()
    X = torch.tensor(digits.images[:, None] / 8 - 1, dtype=torch.float32)
    y = torch.tensor(digits.target)
    idx = torch.randperm(len(X))
    tr, va = idx[:1346], idx[1346:]
    model = build(0.99 if variant == "bad" else 0.1)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(X[tr], y[tr]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[va], y[va]), batch_size=64)}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    accs = []
    for epoch in range(12):
        net.train()
        tr = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            p["optimizer"].step()
            tr.append(loss.item())
        net.eval()
        ok = n = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                ok += (net(x).argmax(1) == y).sum().item()
                n += len(y)
        accs.append(ok / n)
        print(f"epoch {epoch}: train loss {np.mean(tr):.3f}, val acc {accs[-1]:.3f}")
    print("score:", np.mean(accs[-4:]))
