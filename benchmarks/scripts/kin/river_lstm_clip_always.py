"""LSTM that forecasts a river gauge, SGD; every gradient is clipped to a norm of 0.002, so the rate is set by the clip and training crawls; change: max_norm 1.0."""
import argparse
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HISTORY, AHEAD = 24, 3


def gauge(n_hours=4000, seed=0):
    g = torch.Generator().manual_seed(seed)
    rain = torch.where(torch.rand(n_hours, generator=g) < 0.06, torch.rand(n_hours, generator=g) * 3, torch.zeros(n_hours))
    fast = slow = 0.0
    level = []
    for t in range(n_hours):
        fast = 0.75 * fast + rain[t].item()
        slow = 0.97 * slow + 0.15 * rain[t].item()
        level.append(fast + slow + 0.3 * math.sin(2 * math.pi * t / 24))
    level = torch.tensor(level) + 0.05 * torch.randn(n_hours, generator=g)
    series = torch.stack([level, rain], 1)
    return (series - series.mean(0)) / series.std(0)


def windows(series):
    last = len(series) - HISTORY - AHEAD
    x = torch.stack([series[i:i + HISTORY] for i in range(last)])
    y = torch.stack([series[i + HISTORY:i + HISTORY + AHEAD, 0] for i in range(last)])
    return x, y


class Forecaster(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, batch_first=True)
        self.head = nn.Linear(hidden, AHEAD)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.head(h[-1])


def parts(variant):
    torch.manual_seed(0)
    series = gauge()
    train, val = windows(series[:3200]), windows(series[3200:])
    model = Forecaster()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    max_norm = 0.002 if variant == "bad" else 1.0
    mse = nn.MSELoss()

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = mse(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        return loss

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(*train), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*val), batch_size=256)}


WORKS = lambda score: score > 0.4  # R2 of the forecast


def skill(model, loader):
    model.eval()
    with torch.no_grad():
        pred = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return (1 - ((pred - y) ** 2).mean() / y.var()).item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=20)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    for epoch in range(args.epochs):
        p["model"].train()
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1:3d}: train mse {sum(losses) / len(losses):.4f}, val R2 {skill(p['model'], p['val_loader']):.3f}")
    print(f"score: {skill(p['model'], p['val_loader']):.4f}")


if __name__ == "__main__":
    main()
