"""MLP that estimates the propane used on a hot-air balloon flight from load, weather and envelope. An ordinary sound script: table, scaling from the training rows for inputs and target, Adam, MSE."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def flights(n=3000, seed=12):
    rng = np.random.default_rng(seed)
    passengers = rng.integers(2, 13, n)
    load = passengers * rng.normal(78, 6, n)
    air = rng.normal(12, 7, n)
    altitude = rng.uniform(200, 1800, n)
    minutes = rng.normal(65, 14, n).clip(25, 110)
    wind = rng.gamma(2.0, 2.0, n)
    envelope = rng.integers(0, 3, n)
    age = rng.uniform(0, 12, n)
    volume = np.array([2600, 4200, 7000])[envelope]
    lift_temp = air + (load + 0.12 * volume) / (volume * 1.2) * (air + 273) * 1.1
    loss = (lift_temp - air) * volume ** (2 / 3) * (1 + 0.03 * age)
    fuel = 1.4e-4 * loss * minutes + altitude * volume * 2e-6 + 0.4 * wind
    fuel *= rng.lognormal(0, 0.05, n)
    onehot = np.eye(3)[envelope]
    table = np.column_stack([passengers, load, air, altitude, minutes, wind, age, onehot])
    return table.astype(np.float32), fuel.astype(np.float32)


def build_net(n_in):
    return nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))


def r_squared(pred, target):
    return 1.0 - ((pred - target) ** 2).sum().item() / ((target - target.mean()) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(0)
    table, fuel = flights()
    x_train, x_val, y_train, y_val = train_test_split(table, fuel, test_size=0.2, random_state=1)
    scaler, y_scaler = StandardScaler().fit(x_train), StandardScaler().fit(y_train[:, None])
    tensors = lambda x, y: TensorDataset(torch.from_numpy(scaler.transform(x)),
                                         torch.from_numpy(y_scaler.transform(y[:, None])[:, 0]))
    model = build_net(table.shape[1])
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(tensors(x_train, y_train), batch_size=64, shuffle=True),
        "val_loader": DataLoader(tensors(x_val, y_val), batch_size=600),
        "metric": r_squared,
    }


WORKS = lambda score: score > 0.9


def main(variant):
    p = parts(variant)
    net, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        net.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(net(x), y)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](net(x), y)
        if epoch % 5 == 4:
            print(f"epoch {epoch}: val r2 {score:.4f}")
    print("score:", score)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
