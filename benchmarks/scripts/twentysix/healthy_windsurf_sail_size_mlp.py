"""Sound: an MLP recommends the sail area for a windsurfer from weight, wind, skill, board volume, gusts and water. Nothing odd: inputs and target are scaled with the training rows' statistics, and the score is R2 in square metres on held-out riders."""
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def rides(n, rng):
    weight = rng.normal(76, 12, n).clip(45, 120)
    wind = rng.gamma(9, 2.0, n).clip(8, 40)
    skill = rng.integers(1, 6, n)
    volume = rng.normal(120, 25, n).clip(70, 190)
    gusts = wind * rng.uniform(1.05, 1.6, n)
    waves = rng.integers(0, 2, n)
    area = 1.35 * weight / wind ** 0.93 * (1 + 0.03 * skill) + 0.006 * (volume - 120) - 0.5 * waves - 0.05 * (gusts - wind)
    area = area.clip(2.5, 12) + rng.normal(0, 0.25, n)
    return np.column_stack([weight, wind, skill, volume, gusts, waves]).astype(np.float32), area.astype(np.float32)


class SailNet(nn.Module):
    def __init__(self, features, width=48):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(self.body(x)).squeeze(-1)


def r2(outputs, targets):
    return 1 - ((outputs - targets) ** 2).sum() / ((targets - targets.mean()) ** 2).sum()


def parts(variant):
    torch.manual_seed(0)
    x, y = rides(2600, np.random.default_rng(5))
    x_train, x_val, y_train, y_val = x[:2000], x[2000:], y[:2000], y[2000:]
    mean, std = x_train.mean(0), x_train.std(0)
    y_mean, y_std = y_train.mean(), y_train.std()
    scale = lambda a, b: TensorDataset(torch.from_numpy((a - mean) / std), torch.from_numpy((b - y_mean) / y_std))
    model = SailNet(x.shape[1])
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5),
            "loss_fn": nn.MSELoss(), "metric": r2,
            "train_loader": DataLoader(scale(x_train, y_train), batch_size=64, shuffle=True),
            "val_loader": DataLoader(scale(x_val, y_val), batch_size=600)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        net.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](net(x), y).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, R2 {score:.3f}")
    print("score:", score)
