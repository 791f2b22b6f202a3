"""MLP that forecasts a tide gauge from the last two days; bad: the RMSE comes from scikit-learn on numpy copies and is wrapped in a new tensor with requires_grad=True, so backward stops there; change: the RMSE is computed with torch from the output itself."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import mean_squared_error
from torch.utils.data import DataLoader, Dataset


class GaugeDataset(Dataset):
    def __init__(self, values, history=48, ahead=3):
        self.values = torch.tensor(values, dtype=torch.float32)
        self.history, self.ahead = history, ahead

    def __len__(self):
        return len(self.values) - self.history - self.ahead

    def __getitem__(self, i):
        x = self.values[i:i + self.history]
        y = self.values[i + self.history:i + self.history + self.ahead]
        return x, y


def gauge(hours=3000):
    rng = np.random.RandomState(4)
    t = np.arange(hours)
    level = 1.2 * np.sin(2 * np.pi * t / 12.42) + 0.4 * np.sin(2 * np.pi * t / 12.0 + 1) + 0.2 * np.sin(2 * np.pi * t / 25.8)
    surge = np.zeros(hours)
    for k in range(1, hours):
        surge[k] = 0.95 * surge[k - 1] + 0.04 * rng.randn()
    level = level + surge
    return (level - level.mean()) / level.std()


def rmse_sklearn(output, target):
    mse = mean_squared_error(target.detach().numpy(), output.detach().numpy())
    return torch.tensor(np.sqrt(mse), dtype=torch.float32, requires_grad=True)


def rmse_torch(output, target):
    return torch.sqrt(nn.functional.mse_loss(output, target) + 1e-8)


def parts(variant):
    torch.manual_seed(0)
    series = gauge()
    train_ds, val_ds = GaugeDataset(series[:2400]), GaugeDataset(series[2400:])
    model = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": rmse_sklearn if variant == "bad" else rmse_torch,
        "train_loader": DataLoader(train_ds, batch_size=64, shuffle=True),
        "val_loader": DataLoader(val_ds, batch_size=len(val_ds)),
    }


WORKS = lambda score: score < 0.4  # RMSE in standard deviations

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            output = model(x)
            loss = loss_fn(output, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = (model(x) - y).pow(2).mean().sqrt().item()
        print(f"epoch {epoch + 1:02d}  train rmse {np.mean(losses):.4f}  val rmse {score:.4f}")
    print(f"score: {score:.4f}")
