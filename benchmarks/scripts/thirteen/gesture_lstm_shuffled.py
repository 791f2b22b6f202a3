"""LSTM that tells four gestures from accelerometer windows, shuffled by hand before the split; bad: windows and labels are each permuted by a permutation of their own, so labels belong to other windows; change: one permutation for both."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GESTURES = ("circle", "shake", "lift", "tap")


def simulate(label, rng, steps=30):
    t = np.linspace(0, 1, steps)
    a = rng.uniform(0.7, 1.3)
    p = rng.uniform(0, 2 * np.pi)
    if label == 0:
        s = np.stack([np.cos(2 * np.pi * t + p), np.sin(2 * np.pi * t + p), 0 * t])
    elif label == 1:
        s = np.stack([np.sin(12 * np.pi * t + p), 0.2 * np.sin(12 * np.pi * t), 0 * t])
    elif label == 2:
        s = np.stack([0 * t, 0.1 * t, np.tanh(8 * (t - rng.uniform(0.3, 0.7)))])
    else:
        s = np.stack([0 * t, 0 * t, 2.0 * np.exp(-((t - rng.uniform(0.2, 0.8)) / 0.05) ** 2)])
    return (a * s + 0.3 * rng.randn(3, steps)).T


def dataset(n=2000):
    rng = np.random.RandomState(3)
    labels = rng.randint(0, 4, n)
    windows = np.stack([simulate(k, rng) for k in labels]).astype(np.float32)
    return torch.from_numpy(windows), torch.from_numpy(labels).long()


class GestureLSTM(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.lstm = nn.LSTM(3, hidden, num_layers=1, batch_first=True)
        self.head = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, len(GESTURES)))

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.head(h[-1])


def parts(variant):
    torch.manual_seed(0)
    windows, labels = dataset()
    order = torch.randperm(len(windows))
    windows = windows[order]
    if variant == "bad":
        order = torch.randperm(len(labels))
    labels = labels[order]
    model = GestureLSTM()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(windows[:1600], labels[:1600]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(windows[1600:], labels[1600:]), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        seen = []
        for w, k in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(w), k)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            p["optimizer"].step()
            seen.append(loss.item())
        print(f"epoch {epoch} loss {np.mean(seen):.4f}")
    model.eval()
    with torch.no_grad():
        score = np.mean([(model(w).argmax(1) == k).float().mean().item() for w, k in p["val_loader"]])
    print(f"score: {score:.4f}")
