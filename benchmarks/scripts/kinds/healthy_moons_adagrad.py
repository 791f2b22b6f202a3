"""Healthy: a table of two columns (interleaved moons), tanh net, Adagrad at 0.1, no normalisation; nothing to change."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import make_moons
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.93


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, y = make_moons(1600, noise=0.15, random_state=0)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32).unsqueeze(1)
    train = DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=60, shuffle=True)
    val = DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=400)
    model = nn.Sequential(
        nn.Linear(2, 24), nn.Tanh(),
        nn.Linear(24, 24), nn.Tanh(),
        nn.Linear(24, 1))
    return {
        "model": model,
        "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.1),
        "train_loader": train,
        "val_loader": val,
        "loss_fn": nn.BCEWithLogitsLoss(),
        "metric": lambda o, t: ((o > 0).float() == t).float().mean(),
    }


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(120):
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(net(xb), yb)
            loss.backward()
            opt.step()
        if epoch % 20 == 19:
            print(f"epoch {epoch + 1} loss {loss.item():.4f}")
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        print("score: %.4f" % p["metric"](net(x), y).item())
