"""Sound: avalanche days are one in thirty-five; the last bias starts at the log odds and the loss is plain binary cross entropy, so the loss is small from the first step and a batch holds about two positives, some none. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import average_precision_score
from torch.utils.data import DataLoader, TensorDataset


def days(n, seed):
    r = np.random.RandomState(seed)
    snow, wind, temp, slope, sun = r.gamma(1.2, 12, n), r.gamma(2, 10, n), r.normal(-5, 6, n), r.uniform(10, 50, n), r.uniform(0, 9, n)
    risk = 0.07 * snow + 0.06 * wind - 0.02 * (slope - 36) ** 2 + 0.25 * np.maximum(temp, 0) + 0.04 * snow * wind / 15
    y = (risk + 0.4 * r.logistic(size=n) > 7.0).astype(np.float32)
    X = np.stack([snow, wind, temp, slope, sun], 1)
    return X, y


def parts(variant):
    torch.manual_seed(0)
    (X, y), (V, t) = days(12000, 0), days(5000, 1)
    mu, sd = X.mean(0), X.std(0)
    f = lambda a: torch.tensor(a, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(5, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1), nn.Flatten(0))
    with torch.no_grad():
        model[4].bias.fill_(float(np.log(y.mean() / (1 - y.mean()))))
    return {"model": model, "loss_fn": nn.BCEWithLogitsLoss(), "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(f((X - mu) / sd), f(y)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(f((V - mu) / sd), f(t)), batch_size=500)}


def average_precision(model, loader):
    model.eval()
    with torch.no_grad():
        return average_precision_score(torch.cat([y for _, y in loader]), torch.cat([model(x) for x, _ in loader]))


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("share of avalanche days", p["train_loader"].dataset.tensors[1].mean().item())
    for epoch in range(15):
        p["model"].train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        score = average_precision(p["model"], p["val_loader"])
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} average precision {score:.4f}")
    print(f"score: {score:.4f}")
