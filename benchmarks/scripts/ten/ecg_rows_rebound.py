"""Ectopic beats in single-lead ECG strips, 1D CNN with BCE and pos_weight, Adagrad; the array of strips is filled with `for row, strip in zip(x, strips): row = scaled(strip)`, which binds a name and leaves the array zero; change: row[:] = ..."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 160


def record(rng):
    """A strip as the recorder gives it, in millivolts, and whether one beat in it is ectopic (wide, early, inverted T)."""
    t = np.arange(LENGTH)
    strip = 0.1 * np.sin(2 * np.pi * t / rng.uniform(120, 300) + rng.uniform(0, 6.3)) + 0.05 * rng.standard_normal(LENGTH)
    gap = rng.uniform(28, 38)
    beats = np.arange(rng.uniform(5, 20), LENGTH - 5, gap)
    ectopic = rng.random() < 0.3
    odd = rng.integers(1, len(beats) - 1) if ectopic else -1
    for k, at in enumerate(beats):
        if k == odd:
            at -= 0.2 * gap
            strip += 0.9 * np.exp(-0.5 * ((t - at) / 4.0) ** 2) - 0.3 * np.exp(-0.5 * ((t - at - 10) / 3.5) ** 2)
        else:
            strip += 1.0 * np.exp(-0.5 * ((t - at) / 1.3) ** 2) + 0.25 * np.exp(-0.5 * ((t - at - 9) / 3.0) ** 2)
    return strip * rng.uniform(0.7, 1.3), float(ectopic)


def scaled(strip):
    return (strip - strip.mean()) / strip.std()


def dataset(n, seed, bad):
    rng = np.random.default_rng(seed)
    strips, labels = zip(*[record(rng) for _ in range(n)])
    x = np.zeros((n, 1, LENGTH), dtype=np.float32)
    if bad:
        for row, strip in zip(x, strips):
            row = scaled(strip)
    else:
        for row, strip in zip(x, strips):
            row[:] = scaled(strip)
    return TensorDataset(torch.from_numpy(x), torch.tensor(labels, dtype=torch.float32))


class BeatNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 16, 9, padding=4), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(32, 32, 5, padding=2), nn.ReLU(), nn.AdaptiveMaxPool1d(1))
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        return self.head(self.features(x).flatten(1)).squeeze(1)


def balanced_accuracy(logits, y):
    hit = (logits > 0) == (y > 0.5)
    return ((hit[y > 0.5].float().mean() + hit[y < 0.5].float().mean()) / 2).item()


def parts(variant):
    torch.manual_seed(0)
    model = BeatNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.01),
        "loss_fn": nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.3)),
        "train_loader": DataLoader(dataset(1600, 1, variant == "bad"), batch_size=32, shuffle=True),
        "val_loader": DataLoader(dataset(500, 2, variant == "bad"), batch_size=500),
        "metric": balanced_accuracy,
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            value = balanced_accuracy(model(x), y)
        print(f"epoch {epoch + 1:02d} | loss {np.mean(losses):.4f} | balanced accuracy {value:.3f}")
    print(f"score: {value:.4f}")
