"""An LSTM tells five skateboard tricks apart from the board's gyroscope and accelerometer (batch, time, channel). The LSTM is built without batch_first=True, so it runs along the batch and each example's last row alone decides; the right change: nn.LSTM(..., batch_first=True)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
TRICKS = {"ollie": (0, 0, 1.0), "kickflip": (1, 0, 1.0), "heelflip": (-1, 0, 1.0),
          "shuvit": (0, 1, 0.6), "treflip": (1, 1, 1.1)}


def record(trick, rng, steps=32):
    roll, yaw, pop = TRICKS[trick]
    t = np.arange(steps)
    start = rng.uniform(4, 8)
    air = rng.uniform(13, 18) * np.sqrt(pop)
    flight = np.exp(-0.5 * ((t - start - air / 2) / (air / 3.5)) ** 2)
    strength = rng.normal(1.0, 0.15, 3)
    gyro_roll = roll * strength[0] * flight + 0.12 * np.sin(0.4 * t + rng.uniform(0, 6))
    gyro_yaw = yaw * strength[1] * flight + 0.15 * rng.normal()
    gyro_pitch = 0.7 * strength[2] * (np.exp(-0.5 * ((t - start) / 2) ** 2) - np.exp(-0.5 * ((t - start - 4) / 2) ** 2))
    accel = 1 - flight * pop + 2.0 * np.exp(-0.5 * ((t - start - air) / 1.2) ** 2)
    signal = np.stack([gyro_roll, gyro_yaw, gyro_pitch, accel - 0.8], axis=1)
    return signal + rng.normal(0, 0.18, signal.shape)


class TrickDataset(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        names = list(TRICKS)
        self.y = rng.integers(0, len(names), n)
        self.x = np.stack([record(names[k], rng) for k in self.y]).astype(np.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return torch.from_numpy(self.x[index]), int(self.y[index])


class TrickLSTM(nn.Module):
    def __init__(self, channels=4, hidden=32, **kwargs):
        super().__init__()
        self.lstm = nn.LSTM(channels, hidden, num_layers=1, **kwargs)
        self.head = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, len(TRICKS)))

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1, :])


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def parts(variant):
    torch.manual_seed(2)
    model = TrickLSTM() if variant == "bad" else TrickLSTM(batch_first=True)
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "optimizer": torch.optim.Adam(model.parameters(), lr=8e-3),
            "train_loader": DataLoader(TrickDataset(1500, 0), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TrickDataset(400, 1), batch_size=50)}


WORKS = lambda score: score > 0.65

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(18):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            score = np.mean([accuracy(model(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch:2d}  loss {loss.item():.3f}  val acc {score:.3f}")
    print("score:", float(score))
