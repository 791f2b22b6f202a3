"""MLP regression of a plant's power output, tested on the warm months; the StandardScaler is fitted again on the test table (fit_transform), which moves the warm months onto the mean of the year; the right change: transform with the scaler of the training table."""
import sys
import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def plant(n, seed, months):
    r = np.random.RandomState(seed)
    month = r.choice(months, n)
    temp = 14 - 11 * np.cos((month - 0.5) / 12 * 2 * np.pi) + 3 * r.randn(n)
    pressure = 1013 + 6 * r.randn(n)
    humidity = 80 - temp + 8 * r.randn(n)
    vacuum = 40 + 0.9 * temp + 4 * r.randn(n)
    power = 495 - 1.6 * temp - 0.03 * (temp - 10) ** 2 - 0.3 * (vacuum - 50) + 0.06 * (pressure - 1013) - 0.1 * humidity + 2 * r.randn(n)
    return np.stack([temp, pressure, humidity, vacuum], 1), power


def parts(variant):
    torch.manual_seed(0)
    Xtr, ytr = plant(3000, 0, np.arange(1, 13))
    Xte, yte = plant(600, 1, np.array([6, 7, 8]))
    sc = StandardScaler()
    Xtr = sc.fit_transform(Xtr)
    Xte = sc.fit_transform(Xte) if variant == "bad" else sc.transform(Xte)
    mu, sd = ytr.mean(), ytr.std()
    mk = lambda X, y: TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor((y - mu) / sd, dtype=torch.float32).unsqueeze(1))
    net = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    return {"model": net, "optimizer": torch.optim.AdamW(net.parameters(), lr=2e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(mk(Xtr, ytr), 64, shuffle=True), "val_loader": DataLoader(mk(Xte, yte), 600)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for ep in range(15):
        t = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            t += loss.item()
        print(f"{ep} {t / len(p['train_loader']):.4f}")
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", 1 - ((p["model"](x) - y) ** 2).mean().item() / y.var().item())
