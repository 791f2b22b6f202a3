"""Taste score of cheese from chemistry columns with dropout 0.5 after every hidden layer and 0.1 on the inputs; the training loss stays above the validation loss; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def cheeses(n=2000):
    rng = np.random.default_rng(71)
    X = rng.lognormal(0, 0.5, (n, 14))
    y = np.log(X[:, 0]) + 0.8 * np.log(X[:, 1]) - 0.6 * np.sqrt(X[:, 2]) + 0.7 * np.tanh(X[:, 3] - 1) + rng.normal(0, 0.25, n)
    return X, y


def block(i, o, p):
    return nn.Sequential(nn.Linear(i, o), nn.ELU(), nn.Dropout(p))


def parts(variant):
    torch.manual_seed(0)
    X, y = cheeses()
    xs, ys = StandardScaler().fit(X[:1600]), StandardScaler().fit(y[:1600, None])
    X = torch.tensor(xs.transform(X), dtype=torch.float32)
    y = torch.tensor(ys.transform(y[:, None]), dtype=torch.float32)
    model = nn.Sequential(nn.Dropout(0.1), block(14, 160, 0.5), block(160, 160, 0.5), nn.Linear(160, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(X[:1600], y[:1600]), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[1600:], y[1600:]), batch_size=100)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        model.train()
        train_loss = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            p["optimizer"].step()
            train_loss.append(loss.item())
        model.eval()
        with torch.no_grad():
            val_loss = np.mean([p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]])
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1}: train {np.mean(train_loss):.4f} val {val_loss:.4f}")
    print(f"score: {1 - val_loss:.4f}")
