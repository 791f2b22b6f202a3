"""Forward model of a dyeing workshop: amounts of four plant dyes, mordant, bath temperature and time give the reflectance of the silk at 31 wavelengths. SGD runs with a rate of 2e-6, so that the network is at the end where it was at the start; the right change: lr=0.1."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
WAVES = np.linspace(400, 700, 31)


def dye_bath(n, rng):
    """Kubelka-Munk: the absorptions of the dyes add up on the silk."""
    dyes = rng.gamma(1.2, 0.6, size=(n, 4))
    mordant = rng.uniform(0, 1, n)
    temp = rng.uniform(35, 95, n)
    minutes = rng.uniform(10, 90, n)
    peaks, widths = [440, 520, 610, 660], [45, 35, 40, 25]
    absorb = np.stack([np.exp(-0.5 * ((WAVES - p) / w) ** 2) for p, w in zip(peaks, widths)])
    uptake = (0.4 + mordant[:, None] * np.array([1.0, 0.3, 0.7, 0.1])) * (1 - np.exp(-minutes / 30))[:, None]
    uptake = uptake * np.exp(-((temp - 70) / 40) ** 2)[:, None]
    ks = (dyes * uptake) @ absorb * 2.0 + 0.02
    reflect = 1 + ks - np.sqrt(ks ** 2 + 2 * ks)
    reflect = reflect + rng.normal(0, 0.01, reflect.shape)
    x = np.column_stack([dyes, mordant, temp, minutes])
    return x.astype(np.float32), reflect.astype(np.float32)


class DyeNet(nn.Module):
    def __init__(self, n_in, n_out, widths=(96, 96)):
        super().__init__()
        layers, last = [], n_in
        for w in widths:
            layers += [nn.Linear(last, w), nn.SiLU()]
            last = w
        layers.append(nn.Linear(last, n_out))
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x)


def r2(outputs, targets):
    return 1 - ((outputs - targets) ** 2).sum().item() / ((targets - targets.mean(0)) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(12)
    x, y = dye_bath(3000, np.random.default_rng(12))
    x = (x - x[:2400].mean(0)) / x[:2400].std(0)
    y = (y - y[:2400].mean(0)) / y[:2400].std()
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    train, val = torch.utils.data.Subset(data, range(2400)), torch.utils.data.Subset(data, range(2400, 3000))
    model = DyeNet(7, 31)
    optimizer = torch.optim.SGD(model.parameters(), lr=2e-6 if variant == "bad" else 0.1, momentum=0.9, nesterov=True)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.MSELoss(), "metric": r2,
            "train_loader": DataLoader(train, batch_size=64, shuffle=True),
            "val_loader": DataLoader(val, batch_size=600)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[14, 20], gamma=0.3)
    for epoch in range(24):
        model.train()
        running = 0.0
        for inputs, targets in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(inputs), targets)
            loss.backward()
            optimizer.step()
            running += loss.item() * len(inputs)
        schedule.step()
        model.eval()
        with torch.no_grad():
            inputs, targets = next(iter(p["val_loader"]))
            score = p["metric"](model(inputs), targets)
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1}: train mse {running / 2400:.4f}, val R2 {score:.4f}")
    print("score:", score)
