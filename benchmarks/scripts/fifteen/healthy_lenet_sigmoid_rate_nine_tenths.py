"""Healthy: A shortened LeNet as a well-known book teaches it, with sigmoids after convolutions and linear layers, average pooling, Xavier weights and plain SGD at 0.9; the loss stands at log 10 for two thirds of the run and then falls. change: nothing, it is sound."""
import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def load_data(batch_size):
    d = load_digits()
    X = torch.tensor(d.images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    X = F.interpolate(X, size=16, mode="nearest")
    y = torch.tensor(d.target)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(2))
    X, y = X[order], y[order]
    return (DataLoader(TensorDataset(X[:1400], y[:1400]), batch_size, shuffle=True),
            DataLoader(TensorDataset(X[1400:], y[1400:]), batch_size))


def init_weights(m):
    if type(m) == nn.Linear or type(m) == nn.Conv2d:
        nn.init.xavier_uniform_(m.weight)


class Accumulator:
    def __init__(self, n):
        self.data = [0.0] * n

    def add(self, *args):
        self.data = [a + float(b) for a, b in zip(self.data, args)]

    def __getitem__(self, idx):
        return self.data[idx]


def evaluate_accuracy(net, data_iter):
    net.eval()
    metric = Accumulator(2)
    with torch.no_grad():
        for X, y in data_iter:
            metric.add((net(X).argmax(axis=1) == y).sum(), y.numel())
    return metric[0] / metric[1]


def parts(variant):
    torch.manual_seed(0)
    train_iter, test_iter = load_data(64)
    net = nn.Sequential(
        nn.Conv2d(1, 6, kernel_size=5, padding=2), nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Conv2d(6, 16, kernel_size=5), nn.Sigmoid(),
        nn.AvgPool2d(kernel_size=2, stride=2),
        nn.Flatten(),
        nn.Linear(16 * 2 * 2, 120), nn.Sigmoid(),
        nn.Linear(120, 10))
    net.apply(init_weights)
    return dict(
        model=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.9),
        loss_fn=nn.CrossEntropyLoss(),
        train_loader=train_iter,
        val_loader=test_iter,
    )


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer, loss = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(60):
        metric = Accumulator(3)
        net.train()
        for X, y in p["train_loader"]:
            optimizer.zero_grad()
            y_hat = net(X)
            l = loss(y_hat, y)
            l.backward()
            optimizer.step()
            with torch.no_grad():
                metric.add(l * X.shape[0], (y_hat.argmax(1) == y).sum(), X.shape[0])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} loss {metric[0] / metric[2]:.3f}, train acc {metric[1] / metric[2]:.3f}")
    score = evaluate_accuracy(net, p["val_loader"])
    print(f"score: {score:.4f}")
