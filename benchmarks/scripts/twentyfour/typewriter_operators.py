"""LSTM that tells five typists by the rhythm of their keystrokes (40 strokes, pause and force). The batches are (batch, time, features), but the LSTM is built without batch_first, so it runs along the batch and the last step of each sample is all that is seen of it; accuracy stays low; the right change: nn.LSTM(..., batch_first=True)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
TYPISTS = ["Adele", "Bruno", "Carla", "Dino", "Elsa"]
STROKES = 40


def record(n, seed):
    """pause before and force of each stroke; a typist has a rhythm of her own period and slowing down"""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, len(TYPISTS), n)
    periods = np.array([3, 4.5, 7, 11, 18])[who]
    t = np.arange(STROKES)
    phase = rng.uniform(0, 2 * np.pi, n)
    swing = np.sin(2 * np.pi * t[None] / periods[:, None] + phase[:, None])
    pause = 180 + 45 * swing + rng.normal(0, 18, (n, STROKES)) + rng.normal(0, 12, (n, 1))
    force = 1.2 + 0.25 * np.cos(2 * np.pi * t[None] / periods[:, None] + phase[:, None]) + rng.normal(0, 0.15, (n, STROKES))
    return np.stack([pause, force], -1), who


class KeystrokeDataset(Dataset):
    MEAN = np.array([180.0, 1.2])
    STD = np.array([40.0, 0.25])

    def __init__(self, strokes, who):
        self.strokes = torch.tensor((strokes - self.MEAN) / self.STD, dtype=torch.float32)
        self.who = torch.tensor(who)

    def __len__(self):
        return len(self.who)

    def __getitem__(self, i):
        return self.strokes[i], self.who[i]


class RhythmLSTM(nn.Module):
    def __init__(self, hidden=48, **lstm_args):
        super().__init__()
        self.lstm = nn.LSTM(input_size=2, hidden_size=hidden, **lstm_args)
        self.fc = nn.Linear(hidden, len(TYPISTS))

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1, :])


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean().item()


def parts(variant, seed=0):
    torch.manual_seed(seed)
    train = KeystrokeDataset(*record(2000, 10))
    val = KeystrokeDataset(*record(500, 11))
    model = RhythmLSTM() if variant == "bad" else RhythmLSTM(batch_first=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(train, batch_size=50, shuffle=True), "val_loader": DataLoader(val, batch_size=50)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
        model.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch + 1:2d}  loss {total / 2000:.3f}  val acc {acc:.3f}")
    print("score:", float(acc))
