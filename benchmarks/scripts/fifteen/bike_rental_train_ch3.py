"""Rentals of bicycles by the hour with an MLP and the training function of Dive into Deep Learning, whose losses come unreduced; bad: l.sum().backward() is kept from the branch of the home-made sgd (which divides by the batch size), though the updater is torch's SGD; change: l.mean().backward()."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils import data


def synthetic_rentals(num_examples, seed):
    rng = np.random.default_rng(seed)
    hour, temp, wind = rng.uniform(0, 24, num_examples), rng.normal(0, 1, num_examples), rng.exponential(1, num_examples)
    holiday = rng.integers(0, 2, num_examples)
    rush = np.exp(-(hour - 8) ** 2 / 6) * (1 - holiday) + np.exp(-(hour - 17.5) ** 2 / 8)
    y = 2.2 * rush + 0.5 * temp - 0.3 * wind + 0.15 * rng.normal(size=num_examples)
    X = np.stack([np.sin(hour * np.pi / 12), np.cos(hour * np.pi / 12), (hour - 12) / 7, temp, wind - 1, holiday - 0.5], 1)
    return torch.tensor(X, dtype=torch.float32), torch.tensor((y - 1) / 1.2, dtype=torch.float32).reshape(-1, 1)


def load_array(data_arrays, batch_size, is_train=True):
    return data.DataLoader(data.TensorDataset(*data_arrays), batch_size, shuffle=is_train)


class Accumulator:
    def __init__(self, n):
        self.data = [0.0] * n

    def add(self, *args):
        self.data = [a + float(b) for a, b in zip(self.data, args)]

    def __getitem__(self, idx):
        return self.data[idx]


def parts(variant):
    torch.manual_seed(0)
    batch_size, lr = 128, 0.1
    net = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    loss = nn.MSELoss(reduction="none")

    def train_batch(net, batch, updater):
        X, y = batch
        l = loss(net(X), y)
        updater.zero_grad()
        if variant == "bad":
            l.sum().backward()
        else:
            l.mean().backward()
        updater.step()
        return l.mean()

    return {"model": net, "step": train_batch, "optimizer": torch.optim.SGD(net.parameters(), lr=lr),
            "train_loader": load_array(synthetic_rentals(2560, 1), batch_size),
            "val_loader": load_array(synthetic_rentals(600, 2), batch_size, is_train=False)}


WORKS = lambda score: score > 0.7


def evaluate_r2(net, data_iter):
    metric = Accumulator(4)
    with torch.no_grad():
        for X, y in data_iter:
            metric.add(((net(X) - y) ** 2).sum(), y.sum(), (y ** 2).sum(), y.numel())
    return 1 - metric[0] / (metric[2] - metric[1] ** 2 / metric[3])


def train_epoch_ch3(net, train_iter, train_batch, updater):
    net.train()
    metric = Accumulator(2)
    for X, y in train_iter:
        l = train_batch(net, (X, y), updater)
        metric.add(l.item() * y.numel(), y.numel())
    return metric[0] / metric[1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(30):
        train_loss = train_epoch_ch3(p["model"], p["train_loader"], p["step"], p["optimizer"])
        test_r2 = evaluate_r2(p["model"], p["val_loader"])
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}, train loss {train_loss:.4f}, test R2 {test_r2:.4f}")
    score = test_r2
    print(f"score: {score:.4f}")
