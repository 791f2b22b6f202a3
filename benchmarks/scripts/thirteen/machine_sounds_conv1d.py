"""1D CNN that tells six states of a machine from short vibration signals, read class by class from "folders"; bad: the loader of the concatenated folders has no shuffle, so every batch is of one class; change: shuffle=True."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

STATES = ["idle", "normal", "bearing", "gear", "belt", "loose"]


def record(state, n, rng, size=64):
    t = np.arange(size)
    base = 0.2 + 0.15 * state
    out = np.zeros((n, 1, size), dtype=np.float32)
    for i in range(n):
        a = rng.uniform(0.6, 1.4)
        s = a * np.sin(base * t + rng.uniform(0, 2 * np.pi))
        s += 0.4 * np.sin(2 * base * t + rng.uniform(0, 2 * np.pi)) * (state % 2)
        out[i, 0] = s + 0.5 * rng.randn(size)
    return torch.from_numpy(out)


def folder(state, n, seed):
    rng = np.random.RandomState(seed * 100 + state)
    return TensorDataset(record(state, n, rng), torch.full((n,), state, dtype=torch.long))


class VibrationNet(nn.Module):
    def __init__(self, classes=len(STATES)):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool1d(4))
        self.classifier = nn.Linear(128, classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def parts(variant):
    torch.manual_seed(0)
    train_set = ConcatDataset([folder(s, 320, 1) for s in range(len(STATES))])
    val_set = ConcatDataset([folder(s, 80, 2) for s in range(len(STATES))])
    options = {"batch_size": 32} if variant == "bad" else {"batch_size": 32, "shuffle": True}
    net = VibrationNet()
    return {"model": net, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9),
            "train_loader": DataLoader(train_set, **options),
            "val_loader": DataLoader(val_set, batch_size=96)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, sgd, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 13):
        net.train()
        history = []
        for signals, states in p["train_loader"]:
            sgd.zero_grad()
            loss = criterion(net(signals), states)
            loss.backward()
            sgd.step()
            history.append(loss.item())
        net.eval()
        hits = seen = 0
        with torch.no_grad():
            for signals, states in p["val_loader"]:
                hits += (net(signals).argmax(1) == states).sum().item()
                seen += states.numel()
        score = hits / seen
        print(f"epoch {epoch:02d} | loss {np.mean(history):.4f} | val accuracy {score:.4f}")
    print(f"score: {score:.4f}")
