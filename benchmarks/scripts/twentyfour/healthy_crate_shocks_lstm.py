"""An LSTM that tells from the three-axis logger inside of a shipping crate what happened to it (quiet ride, drop, tip over, belt). A sound program: batch-first input, the maximum over time of the states into a linear head, cross-entropy on the logits, Adam, gradient clipping at 1. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
EVENTS = ["quiet", "drop", "tip", "belt"]
STEPS = 48


class CrateLogs(Dataset):
    """Readings in g; each item is (48, 3)."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, len(EVENTS), n)
        self.logs = np.stack([self.record(EVENTS[k], rng) for k in self.labels]).astype(np.float32)

    @staticmethod
    def record(event, rng):
        t = np.arange(STEPS)
        a = rng.normal(0, 0.15, (STEPS, 3))
        a[:, 2] += 1.0
        if event == "drop":
            start = rng.integers(5, STEPS - 12)
            fall = rng.integers(3, 6)
            a[start:start + fall, 2] -= 0.9
            a[start + fall, :] += rng.normal(0, 0.5, 3) + np.array([0, 0, 2.5])
        elif event == "tip":
            when = rng.integers(8, STEPS - 10)
            angle = np.clip((t - when) / 6, 0, 1) * rng.uniform(0.9, 1.5)
            a[:, rng.integers(0, 2)] += np.sin(angle)
            a[:, 2] += np.cos(angle) - 1
        elif event == "belt":
            f = rng.uniform(0.15, 0.25)
            a[:, 1] += rng.uniform(0.25, 0.5) * np.sin(2 * np.pi * f * t + rng.uniform(0, 6.28))
        return a

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.logs[i]), int(self.labels[i])


class ShockLSTM(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(3, hidden, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(hidden, len(EVENTS))

    def forward(self, x):
        states, _ = self.lstm(x)
        return self.fc(self.drop(states.max(dim=1).values))


def accuracy(logits, y):
    return (logits.argmax(1) == y).float().mean().item()


def training_step(model, batch):
    x, y = batch
    return F.cross_entropy(model(x), y)


def parts(variant):
    torch.manual_seed(0)
    model = ShockLSTM()
    return dict(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
        training_step=training_step,
        train_loader=DataLoader(CrateLogs(1600, 3), batch_size=32, shuffle=True),
        val_loader=DataLoader(CrateLogs(400, 4), batch_size=100),
        metric=accuracy,
    )


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(1, 11):
        net.train()
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](net, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](net(x), y) for x, y in p["val_loader"]])
        print(f"[{epoch:02d}] loss={np.mean(losses):.3f} val_acc={acc:.3f}")
    print("score:", acc)
