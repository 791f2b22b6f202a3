"""CNN that tells engine types from log spectrograms of short clips; bad takes the log of the power itself, which is minus infinity where the recorder gated the signal to silence; change: 1e-6 is added before the log."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def make_clips(n, rng):
    t = np.arange(1024) / 4000
    clips, labels = [], []
    for _ in range(n):
        k = rng.integers(4)
        f0 = [90, 140, 210, 320][k] * rng.uniform(0.95, 1.05)
        w = sum(np.sin(2 * np.pi * f0 * h * t + rng.uniform(0, 6.28)) / h for h in range(1, 5))
        w = w + 0.5 * rng.normal(size=len(t))
        if rng.random() < 0.3:
            w[rng.integers(400, 700):] = 0.0
        clips.append(w)
        labels.append(k)
    return torch.tensor(np.array(clips), dtype=torch.float32), torch.tensor(labels)


def log_spectrogram(wave, eps):
    spec = torch.stft(wave, 128, hop_length=64, window=torch.hann_window(128), return_complex=True, center=False)
    power = spec.abs() ** 2
    return torch.log(power + eps)[:, None] / 4


class EngineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d((2, 1)),
            nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(24 * 16, 4)

    def forward(self, x):
        return self.head(self.body(x).mean(3).flatten(1))


def parts(variant):
    torch.manual_seed(0)
    eps = 0.0 if variant == "bad" else 1e-6
    wave, y = make_clips(900, np.random.default_rng(0))
    x = log_spectrogram(wave, eps)
    model = EngineNet()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:700], y[:700]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[700:], y[700:]), batch_size=100)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        net.train()
        running = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = crit(net(x), y)
            loss.backward()
            opt.step()
            running += loss.item()
        net.eval()
        with torch.no_grad():
            hits = sum((net(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
        score = hits / 200
        print(f"epoch {epoch + 1}  loss {running / len(p['train_loader']):.4f}  val acc {score:.3f}")
    print(f"score: {score:.4f}")
