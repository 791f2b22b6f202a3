"""LSTM that forecasts a geyser's water level ten steps ahead; to keep the gradients small the loop clamps p.data (the weights) to +-0.01 after each step, where it means p.grad. change: clamp p.grad to +-0.5 before the step."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def levels(n, seed):
    r = np.random.RandomState(seed)
    x, v, phase = np.zeros(n), 0.0, 0.0
    for t in range(n):
        phase += 0.11 + 0.05 * np.sin(t / 90)
        x[t] = np.sin(phase) + 0.4 * np.sin(2 * phase + 1) + 0.05 * r.randn()
    return (x / x.std()).astype(np.float32)


def windows(series, length=40, ahead=10):
    n = len(series) - length - ahead
    X = np.stack([series[i:i + length] for i in range(n)])[..., None]
    y = series[length + ahead - 1:length + ahead - 1 + n]
    return TensorDataset(torch.tensor(X), torch.tensor(y))


class Forecaster(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.linear(out[:, -1]).squeeze(-1)


def make_step(variant):
    mse = nn.MSELoss()

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = mse(model(x), y)
        loss.backward()
        if variant == "bad":
            optimizer.step()
            for p in model.parameters():
                p.data.clamp_(-0.01, 0.01)
        else:
            for p in model.parameters():
                p.grad.data.clamp_(-0.5, 0.5)
            optimizer.step()
        return loss

    return step


def parts(variant):
    torch.manual_seed(0)
    model = Forecaster()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "step": make_step(variant),
            "train_loader": DataLoader(windows(levels(2500, 0)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(windows(levels(600, 1)), batch_size=128)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(12):
        net.train()
        train_loss = np.mean([p["step"](net, b, p["optimizer"]).item() for b in p["train_loader"]])
        net.eval()
        with torch.no_grad():
            pred = torch.cat([net(x) for x, _ in p["val_loader"]])
            true = torch.cat([y for _, y in p["val_loader"]])
        r2 = 1 - ((pred - true) ** 2).mean().item() / true.var().item()
        print(f"epoch {epoch} train mse {train_loss:.4f} val r2 {r2:.4f}")
    print(f"score: {r2:.4f}")
