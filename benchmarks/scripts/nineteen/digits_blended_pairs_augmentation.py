"""Digit CNN trained with mixup; the weight lam of the first image is given to the label of the second. change: lam * loss(a) + (1 - lam) * loss(b)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def mixup_data(x, y, alpha):
    lam = float(np.random.beta(alpha, alpha))
    index = torch.randperm(len(x))
    return lam * x + (1 - lam) * x[index], y, y[index], lam


def make_training_step(variant, alpha=0.2):
    criterion = nn.CrossEntropyLoss()

    def training_step(model, batch):
        inputs, targets_a, targets_b, lam = mixup_data(*batch, alpha)
        outputs = model(inputs)
        if variant == "bad":
            return (1 - lam) * criterion(outputs, targets_a) + lam * criterion(outputs, targets_b)
        return lam * criterion(outputs, targets_a) + (1 - lam) * criterion(outputs, targets_b)

    return training_step


def parts(variant):
    torch.manual_seed(0)
    np.random.seed(0)
    d = load_digits()
    X = torch.tensor(d.images[:, None] / 8 - 1, dtype=torch.float32)
    y = torch.tensor(d.target)
    order = torch.randperm(len(X))
    tr, va = order[:1400], order[1400:]
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
                          nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
                          nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))
    return {"model": model, "training_step": make_training_step(variant),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
            "train_loader": DataLoader(TensorDataset(X[tr], y[tr]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[va], y[va]), batch_size=128)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(15):
        net.train()
        train_loss = 0
        for batch in p["train_loader"]:
            loss = p["training_step"](net, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            train_loss += loss.item()
        net.eval()
        with torch.no_grad():
            correct = sum((net(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
        acc = correct / len(p["val_loader"].dataset)
        print(f"Epoch {epoch}: Loss {train_loss / len(p['train_loader']):.3f} | Acc {100 * acc:.2f}%")
    print(f"score: {acc:.4f}")
