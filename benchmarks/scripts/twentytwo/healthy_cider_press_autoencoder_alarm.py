"""Alarm for a cider press: an autoencoder is trained on normal readings only and scores strange ones by their reconstruction error; unusual: the input is its own target, the bottleneck is narrow, and the loss never reaches zero."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def press(n, rng, strange=False):
    load = rng.uniform(0.2, 1.0, n)
    fruit = rng.normal(0, 1, n)
    t = np.linspace(0, 1, 32)[None]
    stroke = load[:, None] * np.sin(np.pi * t) ** 2 + 0.2 * fruit[:, None] * np.sin(2 * np.pi * t)
    motor = np.sqrt(load)[:, None] * (1 - np.exp(-4 * t)) + 0.1 * fruit[:, None] * t
    if strange:
        late = rng.integers(6, 20, n)
        for i in range(n):
            stroke[i, late[i]:] *= rng.uniform(0.55, 0.8)
    return np.concatenate([stroke, motor], 1) + rng.normal(0, 0.03, (n, 64))


class Strokes(Dataset):
    def __init__(self, X):
        self.X = torch.tensor(X, dtype=torch.float32)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], self.X[i]


class PressAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 32), nn.SiLU(), nn.Linear(32, 16), nn.SiLU(), nn.Linear(16, 2))
        self.dec = nn.Sequential(nn.Linear(2, 16), nn.SiLU(), nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 64))

    def forward(self, x):
        return self.dec(self.enc(x))


def parts(variant):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    X = press(3000, rng)
    mu, sd = X.mean(0), X.std()  # one scale for all, early samples of a stroke are nearly constant
    model = PressAE()
    model.test_normal = torch.tensor((press(400, rng) - mu) / sd, dtype=torch.float32)
    model.test_strange = torch.tensor((press(400, rng, strange=True) - mu) / sd, dtype=torch.float32)
    X = (X - mu) / sd
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(Strokes(X[:2600]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(Strokes(X[2600:]), batch_size=200)}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    ae, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        ae.train()
        for x, target in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](ae(x), target)
            loss.backward()
            opt.step()
        ae.eval()
        with torch.no_grad():
            val = np.mean([p["loss_fn"](ae(x), t).item() for x, t in p["val_loader"]])
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} train {loss.item():.4f} val {val:.4f}")
    with torch.no_grad():
        err = lambda x: ((ae(x) - x) ** 2).mean(1)
        errors = torch.cat([err(ae.test_normal), err(ae.test_strange)])
    auc = roc_auc_score([0] * 400 + [1] * 400, errors.numpy())
    print("score:", auc)
