"""MLP for the heat demand of a greenhouse, standardised target; bad: a ReLU stands after the last layer too, so no value below zero can be predicted; change: the last layer is linear."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(sizes):
    layers = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:]):
        layers.append(nn.Linear(n_in, n_out))
        layers.append(nn.ReLU())
    return layers


def greenhouse(n):
    g = torch.Generator().manual_seed(12)
    outside = 8 + 9 * torch.randn(n, generator=g)
    wind = 4 * torch.rand(n, generator=g) + 2 * torch.rand(n, generator=g)
    sun = (600 * torch.rand(n, generator=g) - 150).clamp(min=0)
    humidity = 60 + 15 * torch.randn(n, generator=g)
    setpoint = 18 + 2 * torch.randn(n, generator=g)
    screen = (torch.rand(n, generator=g) > 0.5).float()
    loss = (setpoint - outside) * (1.5 + 0.35 * wind) * (1 - 0.3 * screen)
    demand = loss - 0.05 * sun + 0.1 * (humidity - 60).abs() + 2 * torch.randn(n, generator=g)
    return torch.stack([outside, wind, sun, humidity, setpoint, screen], 1), demand.unsqueeze(1)


def parts(variant):
    torch.manual_seed(0)
    X, y = greenhouse(2500)
    X_tr, y_tr, X_va, y_va = X[:2000], y[:2000], X[2000:], y[2000:]
    mx, sx, my, sy = X_tr.mean(0), X_tr.std(0), y_tr.mean(), y_tr.std()
    X_tr, X_va, y_tr, y_va = (X_tr - mx) / sx, (X_va - mx) / sx, (y_tr - my) / sy, (y_va - my) / sy
    layers = mlp([6, 64, 64, 1])
    if variant != "bad":
        layers = layers[:-1]
    model = nn.Sequential(*layers)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(X_tr, y_tr), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(X_va, y_va), batch_size=500),
    }


WORKS = lambda score: score > 0.85


def main(variant):
    torch.set_num_threads(1)
    p = parts(variant)
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        model.train()
        train_loss = 0
        for X, y in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = loss_fn(model(X), y)
            loss.backward()
            opt.step()
            train_loss += loss.item()
        train_loss /= len(p["train_loader"])
        model.eval()
        with torch.inference_mode():
            X, y = next(iter(p["val_loader"]))
            val_loss = loss_fn(model(X), y).item()
            r2 = 1 - val_loss / y.var().item()
        print(f"{epoch:3d}  train {train_loss:.4f}  val {val_loss:.4f}  R2 {r2:.4f}")
    print(f"score: {r2:.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
