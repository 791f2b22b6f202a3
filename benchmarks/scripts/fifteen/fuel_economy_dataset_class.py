"""Miles per gallon of cars from eight columns, with a Dataset class of one's own and an L1 loss; bad: the model gives (B, 1) and the Dataset gives numbers, so the targets are (B,) and the loss is taken over all B x B pairs; change: the output is flattened with squeeze(-1)."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def make_cars(n, seed):
    rng = np.random.default_rng(seed)
    cylinders = rng.choice([4, 6, 8], n, p=[0.5, 0.25, 0.25])
    displacement = cylinders * 40 + rng.normal(0, 20, n)
    horsepower = displacement * 0.45 + rng.normal(20, 12, n)
    weight = displacement * 7 + rng.normal(1600, 250, n)
    acceleration = 24 - horsepower * 0.07 + rng.normal(0, 1.2, n)
    year = rng.integers(70, 83, n)
    origin = rng.integers(0, 2, n)
    mpg = 46 - 0.0075 * weight - 0.03 * horsepower + 0.75 * (year - 76) + 2.0 * origin + rng.normal(0, 1.2, n)
    features = np.stack([cylinders, displacement, horsepower, weight, acceleration, year, origin, year * origin], 1)
    return features.astype(np.float32), mpg.astype(np.float32)


class CarDataset(Dataset):
    def __init__(self, features, mpg):
        self.features = features
        self.mpg = mpg

    def __len__(self):
        return len(self.mpg)

    def __getitem__(self, idx):
        return torch.from_numpy(self.features[idx]), self.mpg[idx]


class MPGNet(nn.Module):
    def __init__(self, flatten):
        super().__init__()
        self.flatten = flatten
        self.linear_relu_stack = nn.Sequential(
            nn.Linear(8, 64), nn.ReLU(),
            nn.Linear(64, 64), nn.ReLU(),
            nn.Linear(64, 1),
        )

    def forward(self, x):
        out = self.linear_relu_stack(x)
        return out.squeeze(-1) if self.flatten else out


def parts(variant):
    torch.manual_seed(0)
    X, y = make_cars(1600, 1)
    mean, std = X[:1300].mean(0), X[:1300].std(0)
    X = (X - mean) / std
    y = (y - y[:1300].mean()) / y[:1300].std()
    model = MPGNet(flatten=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": nn.L1Loss(),
        "train_loader": DataLoader(CarDataset(X[:1300], y[:1300]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(CarDataset(X[1300:], y[1300:]), batch_size=100),
    }


WORKS = lambda score: score > 0.7


def test_loop(dataloader, model):
    model.eval()
    preds, targets = [], []
    with torch.no_grad():
        for X, y in dataloader:
            preds.append(model(X).flatten())
            targets.append(y)
    pred, y = torch.cat(preds), torch.cat(targets)
    return 1 - ((pred - y) ** 2).sum().item() / ((y - y.mean()) ** 2).sum().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, loss_fn, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for t in range(15):
        model.train()
        total = 0.0
        for batch, (X, y) in enumerate(p["train_loader"]):
            pred = model(X)
            loss = loss_fn(pred, y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item()
        score = test_loop(p["val_loader"], model)
        print(f"Epoch {t + 1}: loss {total / (batch + 1):.4f}, val R2 {score:.3f}")
    print(f"score: {score:.4f}")
