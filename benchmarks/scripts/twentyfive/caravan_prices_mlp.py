"""MLP for the asking price of second-hand caravans. The columns go in as they stand in the table (kilometres in the hundred thousands, mass in kilograms, a damp score from 0 to 1), so the large columns drown the others; the right change: standardise the columns with the mean and deviation of the training rows."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
COLUMNS = ["year", "kilometres_towed", "mass_kg", "insurance_value", "length_m", "berths", "damp", "motor_mover"]


def make_table(n=3000, seed=31):
    r = np.random.default_rng(seed)
    year = r.integers(1994, 2024, n)
    age = 2024 - year
    km = (age * r.gamma(3, 2200, n)).round()
    length = r.normal(6.2, 0.9, n).clip(4, 8.5)
    mass = 210 * length + r.normal(0, 90, n)
    insured = r.gamma(4, 6000, n).round(-2)                  # of the whole household
    berths = r.choice([2, 4, 5, 6], n, p=[0.3, 0.4, 0.2, 0.1])
    damp = r.beta(1.3, 4, n)
    mover = r.random(n) < 0.4
    log_price = (9.6 - 0.045 * age + 0.14 * (length - 6) - 1.8 * damp + 0.2 * mover
                 + 0.06 * (berths == 4) - 0.25 * (damp > 0.3) * (age > 10) - 1e-6 * km)
    log_price = log_price + r.normal(0, 0.10, n)
    X = np.stack([year, km, mass, insured, length, berths, damp, mover], axis=1)
    return torch.tensor(X, dtype=torch.float32), torch.tensor(log_price, dtype=torch.float32).unsqueeze(1)


def build_mlp(sizes):
    layers = []
    for a, b in zip(sizes[:-2], sizes[1:-1]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def r2(outputs, targets):
    return 1 - ((outputs - targets) ** 2).sum().item() / ((targets - targets.mean()) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(31)
    X, y = make_table()
    order = torch.randperm(len(X))
    train, val = order[:2400], order[2400:]
    y = (y - y[train].mean()) / y[train].std()
    if variant != "bad":
        X = (X - X[train].mean(0)) / X[train].std(0)
    model = build_mlp([len(COLUMNS), 64, 64, 1])
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": nn.MSELoss(), "metric": r2,
            "train_loader": DataLoader(TensorDataset(X[train], y[train]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[val], y[val]), batch_size=600)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        net.train()
        for xb, yb in p["train_loader"]:
            loss = criterion(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 5 == 4:
            net.eval()
            with torch.no_grad():
                xv, yv = next(iter(p["val_loader"]))
                score = p["metric"](net(xv), yv)
            print(f"epoch {epoch + 1}: last batch {loss.item():.3f}, R2 {score:.3f}")
    print("score:", score)
