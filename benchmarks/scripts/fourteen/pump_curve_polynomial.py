"""Pump efficiency from flow, speed and temperature by SGD on polynomial features; bad: the features of degree 4 go into the net as they are (up to 1e13), and the loss is NaN at once. change: a StandardScaler after PolynomialFeatures."""
import sys
import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def measurements(n, rng):
    flow = rng.uniform(5, 120, n)
    speed = rng.uniform(900, 1800, n)
    temp = rng.uniform(10, 60, n)
    best = 80 * speed / 1500
    eff = 0.78 - 0.5 * ((flow - best) / best) ** 2 - 0.0004 * (temp - 20)
    return np.stack([flow, speed, temp], 1), eff + rng.normal(0, 0.01, n)


def features(variant):
    if variant == "bad":
        return make_pipeline(PolynomialFeatures(4, include_bias=False))
    return make_pipeline(PolynomialFeatures(4, include_bias=False), StandardScaler())


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(8)
    X, y = measurements(1500, rng)
    pipe = features(variant)
    X_train, X_val = pipe.fit_transform(X[:1200]), pipe.transform(X[1200:])
    mean, std = y[:1200].mean(), y[:1200].std()
    y = (y - mean) / std
    to = lambda a: torch.tensor(a, dtype=torch.float32)
    model = nn.Sequential(nn.Linear(X_train.shape[1], 32), nn.ReLU(), nn.Linear(32, 1))
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(to(X_train), to(y[:1200, None])), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(to(X_val), to(y[1200:, None])), batch_size=300),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(40):
        net.train()
        history = []
        for xb, yb in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(xb), yb)
            loss.backward()
            p["optimizer"].step()
            history.append(loss.item())
        if epoch % 5 == 0 or epoch == 39:
            print(f"epoch {epoch}: mse {np.mean(history):.4f}")
    net.eval()
    with torch.no_grad():
        xb, yb = next(iter(p["val_loader"]))
        score = 1 - (net(xb) - yb).pow(2).mean().item() / yb.var().item()
    print(f"score: {score:.4f}")
