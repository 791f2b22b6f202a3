"""Roast of coffee beans from near-infrared readings, with a data_iter written by hand as in Dive into Deep Learning; bad: the features are taken by the shuffled indices, the labels by the running number, so that they belong to other examples; change: both by the shuffled indices."""
import random
import sys

import torch
from torch import nn

roasts = ["green", "cinnamon", "city", "full city", "vienna", "italian"]


def spectra(n, seed):
    g = torch.Generator().manual_seed(seed)
    wave = torch.linspace(0, 1, 32)
    y = torch.randint(0, len(roasts), (n,), generator=g)
    water, sugar = 1.0 - 0.16 * y.float(), 0.3 + 0.8 * torch.exp(-(y.float() - 2.5) ** 2 / 3)
    water, sugar = (a + 0.05 * torch.randn(n, generator=g) for a in (water, sugar))
    X = water[:, None] * torch.exp(-(wave - 0.3) ** 2 / 0.01) + sugar[:, None] * torch.exp(-(wave - 0.7) ** 2 / 0.02)
    X = X + 0.4 * torch.rand(n, 1, generator=g) * wave + 0.03 * torch.randn(n, 32, generator=g)
    return X, y


class DataIter:
    def __init__(self, batch_size, features, labels, aligned=True):
        self.batch_size = batch_size
        self.features, self.labels = features, labels
        self.aligned = aligned

    def __len__(self):
        return (len(self.features) + self.batch_size - 1) // self.batch_size

    def __iter__(self):
        num_examples = len(self.features)
        indices = list(range(num_examples))
        # The examples are read at random, in no particular order
        random.shuffle(indices)
        for i in range(0, num_examples, self.batch_size):
            batch_indices = torch.tensor(indices[i: min(i + self.batch_size, num_examples)])
            if self.aligned:
                yield self.features[batch_indices], self.labels[batch_indices]
            else:
                yield self.features[batch_indices], self.labels[i: i + self.batch_size]


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    X, y = spectra(2400, 1)
    mean, std = X.mean(0), X.std(0)
    X_test, y_test = spectra(500, 2)
    net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, len(roasts)))
    return {
        "model": net,
        "loss_fn": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9),
        "train_loader": DataIter(32, (X - mean) / std, y, aligned=variant != "bad"),
        "val_loader": torch.utils.data.DataLoader(torch.utils.data.TensorDataset((X_test - mean) / std, y_test), 100),
    }


WORKS = lambda score: score > 0.8


def accuracy(y_hat, y):
    return float((y_hat.argmax(axis=1).type(y.dtype) == y).sum())


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, loss, trainer = p["model"], p["loss_fn"], p["optimizer"]
    num_epochs = 15
    for epoch in range(num_epochs):
        net.train()
        train_l = 0.0
        for X, y in p["train_loader"]:
            l = loss(net(X), y)
            trainer.zero_grad()
            l.backward()
            trainer.step()
            train_l += float(l) / len(p["train_loader"])
        net.eval()
        with torch.no_grad():
            test_acc = sum(accuracy(net(X), y) for X, y in p["val_loader"]) / len(p["val_loader"].dataset)
        print(f"epoch {epoch + 1}, loss {train_l:f}, test acc {test_acc:.3f}")
    score = test_acc
    print(f"score: {score:.4f}")
