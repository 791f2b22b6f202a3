"""MLP on the wine table; x and y are shuffled one after the other with two different permutations, so labels and rows no longer belong together; the right change: one permutation for both."""
import sys
import numpy as np
import torch
from sklearn.datasets import load_wine
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def load(together):
    x, y = load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    rng = np.random.RandomState(123)
    if together:
        perm = rng.permutation(len(x))
        x, y = x[perm], y[perm]
    else:
        rng.shuffle(x)
        rng.shuffle(y)
    return torch.tensor(x).float(), torch.tensor(y)


def parts(variant):
    torch.manual_seed(0)
    x, y = load(variant != "bad")
    mlp = nn.Sequential(nn.Linear(13, 32), nn.LeakyReLU(), nn.Linear(32, 32), nn.LeakyReLU(), nn.Linear(32, 3))
    return dict(model=mlp, loss_fn=nn.CrossEntropyLoss(), optimizer=torch.optim.SGD(mlp.parameters(), lr=0.05, momentum=0.9),
                train_loader=DataLoader(TensorDataset(x[:128], y[:128]), 16, shuffle=True), val_loader=DataLoader(TensorDataset(x[128:], y[128:]), 50))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(40):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        if epoch % 10 == 9: print(epoch + 1, loss.item())
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", (p["model"](x).argmax(1) == y).float().mean().item())
