"""Multi-task 1-D convnet on gearbox vibration: which gear is worn (four classes) and how far (a number), one shared body and two heads. Sound: the wear is standardised so that both losses are of the same size, they are added, and both reach the body."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
FREQ = [5, 9, 14, 21]


def recordings(n, rng):
    t = np.arange(128) / 128
    gear = rng.integers(0, 4, n)
    wear = rng.uniform(0.2, 2.0, n)                     # tenths of a millimetre
    f = np.array(FREQ)[gear][:, None] * rng.uniform(0.96, 1.04, (n, 1))
    phase = rng.uniform(0, 2 * np.pi, (n, 1))
    x = wear[:, None] * np.sin(2 * np.pi * f * t + phase) + 0.8 * np.sin(2 * np.pi * 2 * t + rng.uniform(0, 6, (n, 1)))
    return (x + rng.normal(0, 0.4, x.shape)).astype(np.float32), gear, wear.astype(np.float32)


class GearNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(1, 16, 9, padding=4), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 7, padding=3), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(32, 32, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.gear = nn.Linear(32, 4)
        self.wear = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        h = self.body(x)
        return self.gear(h), self.wear(h).squeeze(1)


def training_step(model, batch):
    x, gear, wear = batch
    logits, amount = model(x)
    return F.cross_entropy(logits, gear) + F.mse_loss(amount, wear)


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    (x, g, w), (xv, gv, wv) = recordings(2400, rng), recordings(500, rng)
    sets = [TensorDataset(torch.from_numpy(a / x.std())[:, None], torch.from_numpy(b), torch.from_numpy((c - w.mean()) / w.std()))
            for a, b, c in ((x, g, w), (xv, gv, wv))]
    model = GearNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(sets[0], batch_size=48, shuffle=True), "val_loader": DataLoader(sets[1], batch_size=250)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.3f}")
    model.eval()
    right, se, var, n = 0, 0.0, 0.0, 0
    with torch.no_grad():
        for x, gear, wear in p["val_loader"]:
            logits, amount = model(x)
            right += (logits.argmax(1) == gear).sum().item()
            se += ((amount - wear) ** 2).sum().item()
            var += ((wear - wear.mean()) ** 2).sum().item()
            n += len(gear)
    print(f"gear accuracy {right / n:.3f}, wear R2 {1 - se / var:.3f}")
    print("score:", min(right / n, 1 - se / var))
