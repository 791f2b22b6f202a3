"""Regression of a blade's root bending moment on nine logged channels (rpm, pascals, watts, ...) with SGD and momentum; mistake: the channels go in as logged, in the thousands, the loss explodes to NaN within a few steps; change: StandardScaler on the inputs."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.preprocessing import StandardScaler


def log_file(rows, seed):
    rng = np.random.default_rng(seed)
    wind = rng.gamma(6, 1.5, rows)
    pitch = np.clip(rng.normal(1.2 * np.maximum(wind - 11, 0), 0.8), -2, 25)
    rpm = np.clip(1.6 * wind + rng.normal(0, 0.5, rows), 5, 18)
    power = 1e4 * np.minimum(wind, 12) ** 2 + rng.normal(0, 3e4, rows)
    pressure = rng.normal(101000, 900, rows)
    temp = rng.normal(283, 8, rows)
    yaw = rng.uniform(0, 360, rows)
    vib = rng.exponential(0.02, rows)
    hours = rng.uniform(0, 40000, rows)
    X = np.stack([wind, pitch, rpm, power, pressure, temp, yaw, vib, hours], 1)
    density = pressure / (287 * temp)
    moment = density * wind ** 2 * np.cos(np.radians(4 * pitch)) / 60 + 0.1 * rpm + 2 * vib
    return X.astype(np.float32), (moment + rng.normal(0, 0.08, rows)).astype(np.float32)


class BladeNet(nn.Module):
    def __init__(self, n_in, width=48):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, x):
        return self.layers(x).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    X, y = log_file(2400, 5)
    Xv, yv = log_file(600, 6)
    mu, sd = y.mean(), y.std()
    y, yv = (y - mu) / sd, (yv - mu) / sd
    if variant != "bad":
        sc = StandardScaler().fit(X)
        X, Xv = sc.transform(X).astype(np.float32), sc.transform(Xv).astype(np.float32)
    model = BladeNet(X.shape[1])
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
            "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(torch.from_numpy(Xv), torch.from_numpy(yv)), batch_size=64)}


WORKS = lambda score: score < 0.3   # mean absolute error in standard deviations of the moment

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for ep in range(30):
        net.train()
        tot = 0.0
        for xb, yb in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(xb), yb)
            loss.backward()
            p["optimizer"].step()
            tot += loss.item()
        if ep % 3 == 0:
            print("ep", ep, "mse", round(tot / len(p["train_loader"]), 4))
    net.eval()
    with torch.no_grad():
        err = torch.cat([(net(xb) - yb).abs() for xb, yb in p["val_loader"]])
    score = err.mean().item()
    print(f"score: {score:.4f}")
