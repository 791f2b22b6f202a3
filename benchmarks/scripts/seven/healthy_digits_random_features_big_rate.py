"""Healthy: digits on frozen random convolution features, only a linear head trained with SGD at a rate of 3 on squared error; looks odd, learns well; no mistake."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class RandomFeatures(nn.Module):
    """Untrained filters, following the random-features line of papers."""

    def __init__(self, width=160):
        super().__init__()
        self.filters = nn.Conv2d(1, width, 5, padding=2)
        nn.init.normal_(self.filters.weight, std=0.35)
        nn.init.uniform_(self.filters.bias, -1.0, 1.0)
        self.requires_grad_(False)

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.filters(x)), 2).flatten(1)
        return F.normalize(h, dim=1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = RandomFeatures()
        self.head = nn.Linear(160 * 16, 10)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        return self.head(self.features(x))


def one_hot_mse(out, target):
    return F.mse_loss(out, F.one_hot(target, 10).float())


def parts(variant="fixed"):
    torch.manual_seed(2)
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    y = torch.tensor(data.target)
    order = torch.randperm(len(x))
    train, val = order[:1400], order[1400:]
    model = Net()
    trainable = [q for q in model.parameters() if q.requires_grad]
    return {
        "model": model,
        "optimizer": torch.optim.SGD(trainable, lr=3.0),
        "train_loader": DataLoader(TensorDataset(x[train], y[train]), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[val], y[val]), batch_size=100),
        "loss_fn": one_hot_mse,
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("variant", nargs="?", default="fixed")
    parser.add_argument("--epochs", type=int, default=50)
    args = parser.parse_args()
    p = parts(args.variant)
    net, sgd = p["model"], p["optimizer"]
    for epoch in range(args.epochs):
        total = 0.0
        for x, y in p["train_loader"]:
            sgd.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            sgd.step()
            total += loss.item()
        if (epoch + 1) % 5 == 0:
            with torch.no_grad():
                out = [(net(x).argmax(1) == y).float() for x, y in p["val_loader"]]
            acc = torch.cat(out).mean().item()
            print(f"epoch {epoch + 1}: mse {total / len(p['train_loader']):.5f} val acc {acc:.4f}")
    print(f"score: {acc:.4f}")
