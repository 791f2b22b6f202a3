"""LSTM that tells which of four programmes a dishwasher has run from its meter (power, water inlet, pump current every two minutes). The batches are (batch, time, features), but nn.LSTM is built without batch_first, so it runs along the batch and sees only the last, idle reading of each machine; the right change: nn.LSTM(..., batch_first=True)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)

#            power  water  pump
PHASES = {"fill": (0.1, 1.0, 0.1), "heat": (2.0, 0.0, 0.5), "spray": (0.3, 0.0, 1.0),
          "drain": (0.2, 0.0, 0.4), "dry": (0.8, 0.0, 0.0), "idle": (0.02, 0.0, 0.0)}
PROGRAMMES = [
    ["fill", "spray", "drain", "fill", "heat", "spray", "drain", "dry"],      # eco
    ["fill", "heat", "spray", "drain", "fill", "spray", "drain", "dry"],      # intensive
    ["fill", "spray", "heat", "drain", "dry", "fill", "spray", "drain"],      # glass
    ["fill", "heat", "drain", "fill", "spray", "drain", "spray", "dry"],      # quick
]
STEPS = 48


def make_cycles(n, rng):
    X = np.zeros((n, STEPS, 3), dtype=np.float32)
    y = rng.integers(0, len(PROGRAMMES), n)
    for i in range(n):
        t = rng.integers(0, 4)
        X[i, :] = PHASES["idle"]
        for phase in PROGRAMMES[y[i]]:
            length = rng.integers(3, 7)
            X[i, t:min(t + length, STEPS - 2)] = PHASES[phase]
            t += length
        X[i] *= rng.normal(1.0, 0.08, size=(1, 3))
    X += rng.normal(0, 0.12, X.shape).astype(np.float32)
    return torch.from_numpy(X), torch.from_numpy(y)


class CycleClassifier(nn.Module):
    def __init__(self, hidden=40, **rnn_options):
        super().__init__()
        self.lstm = nn.LSTM(3, hidden, **rnn_options)
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(hidden, len(PROGRAMMES))

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(self.dropout(out[:, -1]))


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def parts(variant):
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    model = CycleClassifier() if variant == "bad" else CycleClassifier(batch_first=True)
    train, val = make_cycles(2400, rng), make_cycles(600, rng)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*train), batch_size=48, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*val), batch_size=100),
        "metric": accuracy,
    }


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(7):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.3f}  val acc {score:.3f}")
    print("score:", float(score))
