"""LSTM that recognises the juggling pattern from a glove's accelerometer. The batches are (batch, time, channel) but the LSTM is built without batch_first=True, so it runs along the batch and sees one moment of each recording; the right change: batch_first=True."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
PATTERNS = ["cascade", "fountain", "shower", "mills mess"]


def recordings(n, seed, steps=32):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    t = np.arange(steps)
    freq = np.array([0.06, 0.12, 0.06, 0.12])[y] * rng.uniform(0.9, 1.1, n)
    lag = np.array([0.0, 0.0, np.pi / 2, np.pi / 2])[y]
    phase = rng.uniform(0, 2 * np.pi, n)
    angle = 2 * np.pi * freq[:, None] * t + phase[:, None]
    x = np.stack([np.sin(angle), np.sin(angle + lag[:, None]), np.sin(2 * angle)], 2)
    x += rng.normal(0, 0.25, x.shape)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


class PatternLSTM(nn.Module):
    def __init__(self, **kw):
        super().__init__()
        self.lstm = nn.LSTM(input_size=3, hidden_size=48, num_layers=1, **kw)
        self.fc = nn.Linear(48, len(PATTERNS))

    def forward(self, x):
        out, _ = self.lstm(x)
        # last time step
        return self.fc(out[:, -1, :])


def parts(variant):
    torch.manual_seed(0)
    model = PatternLSTM() if variant == "bad" else PatternLSTM(batch_first=True)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(*recordings(800, 0)), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*recordings(256, 1)), batch_size=32)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        model.eval()
        right = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                right += (model(x).argmax(1) == y).sum().item()
        print(f"epoch {epoch}  loss {loss.item():.3f}  accuracy {right / 256:.3f}")
    print("score:", right / 256)
