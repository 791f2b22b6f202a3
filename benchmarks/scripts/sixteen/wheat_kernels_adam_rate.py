"""Wheat variety from kernel measurements, an MLP with four hidden layers; bad: Adam with a learning rate of 0.5, the units die or the loss jumps about; change: a learning rate of 1e-3."""
import sys
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

LR = {"bad": 0.5, "fixed": 1e-3}


def kernels(n, rng):
    y = rng.integers(0, 5, n)
    centre = np.array([14.3, 18.3, 11.9, 15.5, 13.0])[y]
    area = centre + rng.normal(0, 0.9, n)
    round_ = np.array([0.88, 0.884, 0.85, 0.90, 0.86])[y] + rng.normal(0, 0.01, n)
    perim = np.sqrt(area * 4 * np.pi / round_) + rng.normal(0, 0.05, n)
    length = np.sqrt(area / np.array([2.5, 2.6, 2.2, 2.8, 2.0])[y]) * 2.3 + rng.normal(0, 0.1, n)
    width = area / length * 1.27 + rng.normal(0, 0.05, n)
    asym = np.array([2.7, 3.6, 4.8, 2.2, 4.0])[y] + rng.normal(0, 1.2, n)
    groove = length * np.array([0.91, 0.97, 0.96, 0.93, 0.90])[y] + rng.normal(0, 0.08, n)
    return np.stack([area, perim, round_, length, width, asym, groove], 1).astype("float32"), y


class KernelNet(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.l1 = nn.Linear(7, hidden)
        self.l2 = nn.Linear(hidden, hidden)
        self.l3 = nn.Linear(hidden, hidden)
        self.l4 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 5)

    def forward(self, x):
        x = F.relu(self.l1(x))
        x = F.relu(self.l2(x))
        x = F.relu(self.l3(x))
        x = F.relu(self.l4(x))
        return self.out(x)


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(7)
    X, y = kernels(2500, rng)
    mu, sd = X[:2000].mean(0), X[:2000].std(0)
    X = torch.from_numpy((X - mu) / sd)
    y = torch.from_numpy(y)
    net = KernelNet()
    optimizer = optim.Adam(net.parameters(), lr=LR["bad" if variant == "bad" else "fixed"])
    return {"model": net, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(X[:2000], y[:2000]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[2000:], y[2000:]), batch_size=100)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(15):
        net.train()
        total, seen = 0.0, 0
        for inputs, labels in p["train_loader"]:
            p["optimizer"].zero_grad()
            outputs = net(inputs)
            loss = p["loss_fn"](outputs, labels)
            loss.backward()
            p["optimizer"].step()
            total += loss.item() * len(labels)
            seen += len(labels)
        print("[%d] loss: %.3f" % (epoch + 1, total / seen))
    net.eval()
    correct = n = 0
    with torch.no_grad():
        for inputs, labels in p["val_loader"]:
            correct += (net(inputs).argmax(1) == labels).sum().item()
            n += len(labels)
    score = correct / n
    print(f"score: {score:.4f}")
