"""An MLP predicts from a table (income, joining fee, days since the last visit, ...) whether a gym member cancels. The columns go in as they are, with values from 0.1 to 90000, so the first updates wreck the network; the right change: standardise the columns with the training set's mean and standard deviation."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.set_num_threads(1)


def member_table(n, rng):
    age = rng.integers(16, 75, n)
    income = rng.lognormal(10.4, 0.45, n)
    months = rng.integers(1, 96, n)
    visits = rng.gamma(2.0, 1.2, n)
    last_visit = rng.exponential(25, n)
    distance_m = rng.lognormal(7.6, 0.7, n)
    discount = rng.choice([0.0, 0.1, 0.2, 0.5], n, p=[0.5, 0.2, 0.2, 0.1])
    classes = rng.poisson(1.0, n)
    score = (-1.1 * np.log1p(visits) * 2 + 0.045 * last_visit + 0.9 * np.log(distance_m / 2000)
             - 1.2 * np.log(income / 33000) - 0.5 * classes + 2.5 * discount
             - 0.015 * months + 0.0006 * (age - 40) ** 2 + 1.6)
    cancels = (score + rng.logistic(0, 0.6, n) > 0).astype(np.float32)
    table = np.column_stack([age, income, months, visits, last_visit, distance_m, discount, classes])
    return table.astype(np.float32), cancels


def mlp(sizes, dropout=0.1):
    layers = []
    for a, b in zip(sizes[:-2], sizes[1:-1]):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]), nn.Flatten(0))


def balanced_accuracy(logits, targets):
    hit = ((logits > 0).float() == targets).float()
    return 0.5 * (hit[targets == 1].mean() + hit[targets == 0].mean()).item()


def parts(variant):
    torch.manual_seed(21)
    X, y = member_table(4000, np.random.default_rng(8))
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    train_idx, val_idx = random_split(range(len(X)), [3200, 800])
    if variant != "bad":
        mean, std = X[list(train_idx)].mean(0), X[list(train_idx)].std(0)
        X = (X - mean) / std
    data = TensorDataset(X, y)
    train = torch.utils.data.Subset(data, list(train_idx))
    val = torch.utils.data.Subset(data, list(val_idx))
    model = mlp([X.shape[1], 64, 32, 1])
    return {"model": model, "loss_fn": nn.BCEWithLogitsLoss(), "metric": balanced_accuracy,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            "train_loader": DataLoader(train, batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(val, batch_size=800)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(20):
        model.train()
        losses = []
        for xb, yb in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(xb), yb)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"{epoch:2d} {np.mean(losses):.4f}")
    model.eval()
    xb, yb = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", balanced_accuracy(model(xb), yb))
