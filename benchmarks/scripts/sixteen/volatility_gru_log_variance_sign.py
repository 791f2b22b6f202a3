"""GRU that forecasts tomorrow's variance of a share from 30 returns, Gaussian likelihood with log-variance; bad subtracts the log-variance in the loss instead of adding it, so it falls without end; change: plus."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def garch(n=4000, seed=9):
    rng = np.random.default_rng(seed)
    r, h = np.zeros(n), np.ones(n)
    for t in range(1, n):
        h[t] = 0.05 + 0.25 * r[t - 1] ** 2 + 0.70 * h[t - 1]
        r[t] = np.sqrt(h[t]) * rng.normal()
    return r.astype(np.float32), h.astype(np.float32)


def windows():
    r, h = garch()
    x = np.stack([r[i:i + 30] for i in range(len(r) - 30)])
    x = np.stack([x, np.abs(x)], -1)
    return torch.tensor(x), torch.tensor(r[30:]), torch.tensor(h[30:])


class VolGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(2, 24, batch_first=True)
        self.out = nn.Linear(24, 1)

    def forward(self, x):
        _, h = self.gru(x)
        return self.out(h[0]).squeeze(1)


class GaussianLikelihood(nn.Module):
    def __init__(self, sign):
        super().__init__()
        self.sign = sign

    def forward(self, logvar, r):
        return 0.5 * (self.sign * logvar + r ** 2 * torch.exp(-logvar)).mean()


def parts(variant):
    torch.manual_seed(0)
    x, r, _ = windows()
    model = VolGRU()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": GaussianLikelihood(-1 if variant == "bad" else 1),
            "train_loader": DataLoader(TensorDataset(x[:3000], r[:3000]), batch_size=60, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[3000:], r[3000:]), batch_size=2000)}


WORKS = lambda score: score > 0.6       # correlation of log-variances, less the absolute bias in logs

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        p["model"].train()
        losses = []
        for x, r in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), r)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} loss {np.mean(losses):.4f}")
    p["model"].eval()
    with torch.no_grad():
        x, _ = next(iter(p["val_loader"]))
        got = p["model"](x).numpy()
    true = np.log(windows()[2][3000:].numpy())
    score = np.corrcoef(got, true)[0, 1] - abs(got.mean() - true.mean())
    print(f"score: {score:.4f}")
