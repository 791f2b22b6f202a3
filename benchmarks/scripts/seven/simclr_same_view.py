"""SimCLR on periodic signals; the two views of a sample are one and the same augmented tensor, so the pretext task asks for no invariance; change: `fixed` draws each view anew."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, Dataset

L, TEMPERATURE = 64, 0.2
WORKS = lambda score: score > 0.8          # linear probe on the frozen encoder


def make_signals(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 5, n)
    u = (np.arange(L)[None] / 32 + rng.random((n, 1))) % 1.0
    shapes = np.stack([np.sin(2 * np.pi * u), np.sign(u - 0.5), 2 * u - 1, 1 - 4 * np.abs(u - 0.5),
                       np.sin(2 * np.pi * u) + np.sin(6 * np.pi * u)])
    x = shapes[y, np.arange(n)]
    x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    x = x + 0.4 * rng.standard_normal((n, L))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


class TwoViews(Dataset):
    def __init__(self, x, variant):
        self.x, self.variant = x, variant

    def augment(self, s):
        s = torch.roll(s, int(torch.randint(0, L, (1,))))
        s = s * (0.7 + 0.6 * torch.rand(1))
        return s + 0.3 * torch.randn(L)

    def __getitem__(self, i):
        v1 = self.augment(self.x[i])
        v2 = v1 if self.variant == "bad" else self.augment(self.x[i])
        return v1, v2

    def __len__(self):
        return len(self.x)


class SimCLR(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(L, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 16))
        self.projector = nn.Sequential(nn.ReLU(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x):
        return F.normalize(self.projector(self.encoder(x)), dim=1)


def nt_xent(z1, z2):
    n = len(z1)
    z = torch.cat([z1, z2])
    logits = z @ z.t() / TEMPERATURE
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), -1e9)
    targets = torch.cat([torch.arange(n) + n, torch.arange(n)])
    return F.cross_entropy(logits, targets)


def parts(variant):
    torch.manual_seed(0)
    x, _ = make_signals(3000, 0)
    loader = DataLoader(TwoViews(x, variant), batch_size=250, shuffle=True, drop_last=True)
    model = SimCLR()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-6)
    training_step = lambda model, batch: nt_xent(model(batch[0]), model(batch[1]))
    return dict(model=model, optimizer=optimizer, train_loader=loader, training_step=training_step)


def linear_probe(model):
    model.eval()
    with torch.no_grad():
        (a, ya), (b, yb) = [(model.encoder(x).numpy(), y.numpy()) for x, y in (make_signals(1000, 1), make_signals(1000, 2))]
    mu, sd = a.mean(0), a.std(0) + 1e-6
    return LogisticRegression(max_iter=500).fit((a - mu) / sd, ya).score((b - mu) / sd, yb)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(40):
        tot = 0
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            tot += loss.item()
        if epoch % 10 == 9:
            print("epoch", epoch + 1, "nt-xent", round(tot / len(p["train_loader"]), 4))
    print("score:", round(linear_probe(p["model"]), 4))
