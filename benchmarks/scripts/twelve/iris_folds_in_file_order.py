"""Cross-validation of a small net on iris by KFold, whose default does not shuffle; the file is in order of species, so each fold is tested on the one species that it has never seen in training; change: KFold with shuffle=True."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_iris
from sklearn.model_selection import KFold
from torch.utils.data import DataLoader, TensorDataset

FOLDS = 3


class IrisNet(nn.Module):
    def __init__(self, n_in=4, hidden=32, classes=3):
        super().__init__()
        self.fc1 = nn.Linear(n_in, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return self.out(x)


def splits(x, y, variant):
    folds = KFold(FOLDS) if variant == "bad" else KFold(FOLDS, shuffle=True, random_state=0)
    return list(folds.split(x, y))


def as_dataset(x, y):
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


def parts(variant, fold=0):
    torch.manual_seed(0)
    x, y = load_iris(return_X_y=True)
    train, test = splits(x, y, variant)[fold]
    mean, std = x[train].mean(0), x[train].std(0)
    x = (x - mean) / std
    model = IrisNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(as_dataset(x[train], y[train]), batch_size=10, shuffle=True),
        "val_loader": DataLoader(as_dataset(x[test], y[test]), batch_size=50),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


def train_fold(p, epochs=40):
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(epochs):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        if (epoch + 1) % 10 == 0:
            print(f"  epoch {epoch + 1}: loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        return float(np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]]))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    scores = []
    for fold in range(FOLDS):
        scores.append(train_fold(parts(variant, fold)))
        print(f"fold {fold + 1}: accuracy {scores[-1]:.3f}")
    print(f"score: {np.mean(scores):.4f}")
