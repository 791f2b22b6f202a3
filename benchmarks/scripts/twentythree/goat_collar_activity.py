"""Recognises what a goat is doing from three-axis collar accelerometer windows (1D CNN) with added noise as augmentation. The mistake: the noise has a standard deviation of 12, a figure from the raw sensor counts, but the signals are in g (a few tenths), so the training windows are nothing but noise; the right change: noise of 0.05 g."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
NAMES = ["standing", "grazing", "walking", "running", "scratching"]


def window(rng, k, n=64):
    t = np.arange(n) / 25.0
    f = [0.2, 0.9, 1.8, 3.2, 6.0][k] * rng.uniform(0.85, 1.15)
    a = [0.03, 0.15, 0.25, 0.6, 0.3][k] * rng.uniform(0.7, 1.3)
    ph = rng.uniform(0, 2 * np.pi, 3)
    head = rng.uniform(-0.3, 0.3) - (0.5 if k == 1 else 0)
    g = np.array([np.sin(head), 0.0, np.cos(head)])[:, None]
    x = g + a * np.array([[0.6], [0.4], [1.0]]) * np.sin(2 * np.pi * f * t + ph[:, None])
    return (x + 0.05 * rng.standard_normal((3, n))).astype(np.float32)


class Collar(Dataset):
    def __init__(self, n, seed, noise=0.0):
        rng = np.random.default_rng(seed)
        self.y = rng.integers(0, len(NAMES), n)
        self.x = np.stack([window(rng, k) for k in self.y])
        self.noise = noise

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = torch.from_numpy(self.x[i])
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        return x, int(self.y[i])


class ActivityNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(3, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool1d(4))
        self.head = nn.Linear(128, len(NAMES))

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


def parts(variant):
    torch.manual_seed(14)
    net = ActivityNet()
    train = Collar(1200, 1, noise=12.0 if variant == "bad" else 0.05)
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(Collar(400, 2), batch_size=200)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    accs = []
    for epoch in range(16):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        right = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                right += (net(x).argmax(1) == y).sum().item()
        accs.append(right / 400)
        print(f"epoch {epoch}: train loss {np.mean(losses):.3f}, held-out accuracy {accs[-1]:.3f}")
    print("score:", np.mean(accs[-3:]))
