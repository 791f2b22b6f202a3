"""An MLP that predicts the acidity (pH) of a jar of fermenting cabbage from salt, temperature, days, sugar, starter and the kind of vessel. A sound program: inputs and target are standardised with the statistics of the training jars, AdamW with a cosine schedule by epoch. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
EPOCHS = 30
VESSELS = ("glass", "crock", "bucket")


def ferment(n, rng):
    salt = rng.uniform(1.0, 4.0, n)
    temp = rng.normal(20, 3, n)
    days = rng.integers(1, 40, n).astype(float)
    sugar = rng.gamma(9, 0.4, n)
    starter = rng.choice([0.0, 0.5, 1.0], n, p=[0.6, 0.2, 0.2])
    vessel = rng.integers(0, 3, n)
    speed = 0.09 * np.exp(0.09 * (temp - 20)) * (1 + starter) * np.exp(-0.35 * (salt - 2))
    speed *= np.array([1.0, 0.8, 1.3])[vessel]
    depth = 2.6 * (1 - np.exp(-sugar / 2.5))
    ph = 6.2 - depth * (1 - np.exp(-speed * days)) + rng.normal(0, 0.06, n)
    columns = np.column_stack([salt, temp, days, sugar, starter, np.eye(3)[vessel]])
    return columns.astype(np.float32), ph.astype(np.float32)[:, None]


class Standardiser:
    def fit(self, a):
        self.mean, self.std = a.mean(0), a.std(0) + 1e-8
        return self

    def __call__(self, a):
        return torch.from_numpy((a - self.mean) / self.std)


class AcidityNet(nn.Module):
    def __init__(self, n_in, width=64):
        super().__init__()
        self.hidden1 = nn.Linear(n_in, width)
        self.hidden2 = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)
        self.act = nn.SiLU()

    def forward(self, x):
        h = self.act(self.hidden1(x))
        h = h + self.act(self.hidden2(h))
        return self.out(h)


def r2(pred, target):
    return 1 - ((pred - target) ** 2).sum().item() / ((target - target.mean()) ** 2).sum().item()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(11)
    x_train, y_train = ferment(2400, rng)
    x_val, y_val = ferment(600, rng)
    sx, sy = Standardiser().fit(x_train), Standardiser().fit(y_train)
    train = TensorDataset(sx(x_train), sy(y_train))
    val = TensorDataset(sx(x_val), sy(y_val))
    model = AcidityNet(x_train.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(train, batch_size=64, shuffle=True),
        "val_loader": DataLoader(val, batch_size=200),
        "metric": r2,
    }


WORKS = lambda score: score > 0.9


def main(variant):
    p = parts(variant)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(EPOCHS):
        model.train()
        total, seen = 0.0, 0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
            seen += len(x)
        p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            pairs = [(model(x), y) for x, y in p["val_loader"]]
        score = p["metric"](torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]))
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:2d}  train mse {total / seen:.4f}  val r2 {score:.4f}")
    return score


if __name__ == "__main__":
    print("score:", main(sys.argv[1] if len(sys.argv) > 1 else "fixed"))
