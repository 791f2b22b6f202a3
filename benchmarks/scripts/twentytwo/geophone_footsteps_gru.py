"""GRU that tells who walks past a geophone (child, adult, goat, cow) from a short window; every window is standardised by its own mean and deviation, which removes the strength of the steps, the only thing that tells child from adult and goat from cow; the right change: standardise with the mean and deviation of the whole training set."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
NAMES = ["child", "adult", "goat", "cow"]


def record(rng, n, length=96):
    y = rng.integers(0, 4, n)
    t = np.arange(length)
    x = np.zeros((n, length))
    for i, c in enumerate(y):
        period = rng.uniform(26, 32) if c < 2 else rng.uniform(11, 15)
        pos = rng.uniform(-5, 8)
        while pos < length:
            d = t - pos
            x[i] += (d >= 0) * np.exp(-np.clip(d, 0, None) / 3.5) * np.sin(1.3 * d) * rng.uniform(0.8, 1.2)
            pos += period * rng.uniform(0.9, 1.1)
        weight = {0: 0.5, 1: 1.4, 2: 0.6, 3: 2.0}[int(c)] * np.exp(rng.normal(0, 0.15))
        x[i] = weight * (x[i] + rng.normal(0, 0.12, length))
    return x, y


class Windows(Dataset):
    def __init__(self, x, y, mean, std, per_window):
        self.x, self.y = x, y
        self.mean, self.std, self.per_window = mean, std, per_window

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        w = self.x[i]
        if self.per_window:
            w = (w - w.mean()) / (w.std() + 1e-8)
        else:
            w = (w - self.mean) / self.std
        # 4 samples per time step
        return torch.tensor(w, dtype=torch.float32).view(-1, 4), int(self.y[i])


class StepGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 48, batch_first=True)
        self.fc = nn.Linear(48, len(NAMES))

    def forward(self, x):
        out, _ = self.gru(x)
        return self.fc(out.mean(1))


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item()


def parts(variant):
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    xtr, ytr = record(rng, 1200)
    xva, yva = record(rng, 400)
    stats = xtr.mean(), xtr.std()
    per_window = variant == "bad"
    model = StepGRU()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Windows(xtr, ytr, *stats, per_window), batch_size=50, shuffle=True),
            "val_loader": DataLoader(Windows(xva, yva, *stats, per_window), batch_size=400), "metric": accuracy}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        losses = []
        for xb, yb in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = np.mean([accuracy(model(xb), yb) for xb, yb in p["val_loader"]])
        print(f"{epoch:2d} loss {np.mean(losses):.3f} val acc {acc:.3f}")
    print("score:", acc)
