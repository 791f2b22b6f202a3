"""LSTM that gives the knee torque (tens of newton metres) of an exoskeleton from joint angles; bad keeps the tanh of the old normalised-action head on the output; change: a linear output."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def gait(n=1200, seed=6):
    rng = np.random.default_rng(seed)
    t = np.arange(40) / 50
    x, y = [], []
    for _ in range(n):
        f, a, ph, mass = rng.uniform(0.7, 1.4), rng.uniform(0.3, 0.9), rng.uniform(0, 6.28), rng.uniform(0.7, 1.3)
        w = 2 * np.pi * f
        knee = a * np.sin(w * t + ph)
        hip = 0.5 * a * np.cos(w * t + ph + 0.3)
        acc = -a * w ** 2 * np.sin(w * t[-1] + ph)
        torque = mass * (0.9 * acc + 22 * np.sin(knee[-1]) - 8 * np.sin(hip[-1]))
        x.append(np.stack([knee, hip, np.full(40, mass)], 1) + 0.005 * rng.normal(size=(40, 3)))
        y.append(torque)
    return torch.tensor(np.array(x), dtype=torch.float32), torch.tensor(np.array(y), dtype=torch.float32)[:, None]


class TorqueLSTM(nn.Module):
    def __init__(self, head):
        super().__init__()
        self.lstm = nn.LSTM(3, 64, batch_first=True)
        self.head = head

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1])


def parts(variant):
    torch.manual_seed(0)
    x, y = gait()
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1)]
    if variant == "bad":
        layers.append(nn.Tanh())
    model = TorqueLSTM(nn.Sequential(*layers))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(x[:1000], y[:1000]), batch_size=25, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1000:], y[1000:]), batch_size=200)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(30):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 50.0)
            p["optimizer"].step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            r2 = 1 - ((model(x) - y) ** 2).mean().item() / y.var().item()
        print(f"epoch {epoch} mse {np.mean(losses):.2f} r2 {r2:.3f}")
    print(f"score: {r2:.4f}")
