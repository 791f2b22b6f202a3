"""MLP on a table of houses (lot area, year built, rooms, distance in metres), prices in units of 100,000, SGD; bad: the columns go in as they are (up to tens of thousands) and the loss is NaN within a few steps; change: standardise the columns."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def table(n=1600):
    rng = np.random.default_rng(42)
    area = rng.lognormal(9.0, 0.5, n)
    year = rng.integers(1900, 2020, n)
    rooms = rng.integers(1, 9, n)
    distance = rng.uniform(100, 20000, n)
    quality = rng.integers(1, 11, n)
    price = (0.6 * np.log(area / 3000) + 0.008 * (year - 1900) + 0.15 * rooms
             - 0.5 * np.sqrt(distance / 5000) + 0.04 * quality ** 1.3)
    price = price + rng.normal(0, 0.15, n)
    X = np.stack([area, year, rooms, distance, quality], 1).astype(np.float32)
    return X, price.astype(np.float32)


def standardise(X, reference):
    return (X - reference.mean(0)) / reference.std(0)


class PriceNet(nn.Module):
    def __init__(self, n_features, hidden=64):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_features, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 1))

    def forward(self, x):
        return self.net(x).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    X, price = table()
    X_train, X_test = X[:1300], X[1300:]
    y_train, y_test = price[:1300], price[1300:]
    if variant != "bad":
        X_train, X_test = standardise(X_train, X_train), standardise(X_test, X_train)
    train = TensorDataset(torch.from_numpy(X_train), torch.from_numpy(y_train))
    test = TensorDataset(torch.from_numpy(X_test), torch.from_numpy(y_test))
    model = PriceNet(X.shape[1])
    return {"model": model, "loss_fn": nn.MSELoss(), "optimizer": torch.optim.SGD(model.parameters(), lr=0.01),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True), "val_loader": DataLoader(test, batch_size=100)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, loss_fn, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(30):
        model.train()
        running = []
        for X, y in p["train_loader"]:
            pred = model(X)
            loss = loss_fn(pred, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running.append(loss.item())
        print(f"epoch {epoch} mse {np.mean(running):.4f}")
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(X) for X, _ in p["val_loader"]])
        true = torch.cat([y for _, y in p["val_loader"]])
    score = (1 - ((pred - true) ** 2).mean() / true.var()).item()
    print(f"score: {score:.4f}")
