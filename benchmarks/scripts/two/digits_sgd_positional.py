"""Digits CNN with SGD(params, 0.05, 0, 0, 0.9): the 0.9 meant as momentum stands in the place of weight_decay and pulls all weights to zero; change: momentum=0.9 by name."""
import sys, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits

def make_net():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))

def make_optimizer(params, variant):
    if variant == "fixed":
        return torch.optim.SGD(params, lr=0.05, momentum=0.9)
    return torch.optim.SGD(params, 0.05, 0, 0, 0.9)

def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16; y = torch.tensor(d.target)
    p = torch.randperm(len(x)); x, y = (x[p] - 0.3) / 0.37, y[p]
    net = make_net()
    return {"model": net, "optimizer": make_optimizer(net.parameters(), variant), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:1400], y[:1400]), 32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), 100)}

WORKS = lambda acc: acc > 0.9

def main():
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); net = p["model"]
    for epoch in range(6):
        net.train(); s = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            p["optimizer"].zero_grad(); loss.backward(); p["optimizer"].step(); s += loss.item()
        print(f"epoch {epoch} loss {s / len(p['train_loader']):.4f}")
    net.eval()
    with torch.no_grad():
        print("score:", sum((net(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / 397)

if __name__ == "__main__":
    main()
