"""MLP that predicts the height (cm) of a sourdough loaf from the baker's log, a table of nine columns. The settings hold keep_prob 0.9, which is handed to nn.Dropout as its p, so nine of ten units are dropped in three layers and the predictions stay close to the mean; the right change: nn.Dropout(1 - keep_prob), i.e. 0.1."""
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


@dataclass
class Settings:
    width: int = 96
    depth: int = 3
    keep_prob: float = 0.9
    lr: float = 2e-3
    epochs: int = 40
    batch: int = 64


def baking_log(n, seed):
    rng = np.random.default_rng(seed)
    hydration = rng.uniform(58, 86, n)
    protein = rng.normal(12, 1.1, n)
    starter = rng.uniform(8, 30, n)
    starter_age = rng.uniform(2, 14, n)
    room = rng.normal(23, 2.5, n)
    bulk = rng.uniform(2.5, 8, n)
    cold = rng.uniform(0, 36, n)
    salt = rng.normal(2.0, 0.2, n)
    steam = rng.integers(0, 2, n)
    speed = starter / 18 * np.exp(0.09 * (room - 23)) * np.exp(-((starter_age - 6) / 5) ** 2)
    ripeness = speed * bulk + 0.02 * cold
    height = 6 + 5 * np.exp(-((ripeness - 4.0) / 2.2) ** 2) + 0.45 * (protein - 12) - 0.0035 * (hydration - 70) ** 2 \
        + 0.8 * steam * (hydration > 68) - 0.9 * (salt - 2) + rng.normal(0, 0.25, n)
    table = np.stack([hydration, protein, starter, starter_age, room, bulk, cold, salt, steam], 1)
    return table.astype(np.float32), height.astype(np.float32)


class LoafRegressor(nn.Module):
    def __init__(self, columns, s, drop):
        super().__init__()
        layers, size = [], columns
        for _ in range(s.depth):
            layers += [nn.Linear(size, s.width), nn.ReLU(), nn.Dropout(drop)]
            size = s.width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(size, 1)

    def forward(self, x):
        return self.head(self.layers(x))[:, 0]


def parts(variant, s=Settings()):
    torch.manual_seed(0)
    (xt, yt), (xv, yv) = baking_log(2400, 3), baking_log(600, 4)
    mu, sd, my, sy = xt.mean(0), xt.std(0), yt.mean(), yt.std()

    def loader(x, y, shuffle):
        data = TensorDataset(torch.from_numpy((x - mu) / sd), torch.from_numpy((y - my) / sy))
        return DataLoader(data, batch_size=s.batch, shuffle=shuffle)

    drop = s.keep_prob if variant == "bad" else 1 - s.keep_prob
    model = LoafRegressor(xt.shape[1], s, drop)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=s.lr), "loss_fn": nn.MSELoss(),
            "train_loader": loader(xt, yt, True), "val_loader": loader(xv, yv, False)}


WORKS = lambda score: score > 0.75


def r2(model, loader):
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in loader]
    out, y = (torch.cat(c) for c in zip(*pairs))
    return (1 - (out - y).pow(2).sum() / (y - y.mean()).pow(2).sum()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(Settings.epochs):
        p["model"].train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        if epoch % 4 == 3:
            print(f"{epoch + 1:3d}: loss {np.mean(losses):.3f}, held-out R2 {r2(p['model'], p['val_loader']):.3f}")
    print("score:", r2(p["model"], p["val_loader"]))
