"""Survival with a neural Cox model; the mistake: the partial likelihood's risk sets are a cumulative sum over the batch, which isn't sorted by time, so they are random sets; change: `fixed` sorts by falling time first."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.7


def cohort(n, rng):
    x = rng.normal(size=(n, 8)).astype(np.float32)
    risk = 1.2 * x[:, 0] - 0.9 * x[:, 1] + 0.8 * x[:, 2] * x[:, 3]
    t = rng.exponential(1.0, n) * np.exp(-risk)
    event = rng.random(n) < 0.75                       # the rest leaves the study at some earlier time
    t = np.where(event, t, t * rng.random(n))
    y = np.stack([t, event], axis=1).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(y)


class DeepSurv(nn.Module):
    def __init__(self, d=8):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Dropout(0.1),
                                 nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1, bias=False))

    def forward(self, x):
        return self.net(x).squeeze(1)


def concordance(risk, y):
    t, e = y[:, 0], y[:, 1].bool()
    earlier = (t[:, None] < t[None, :]) & e[:, None]
    diff = risk[:, None] - risk[None, :]
    return ((diff > 0) & earlier).sum().item() / earlier.sum().item()


def parts(variant="fixed"):
    torch.manual_seed(9)
    rng = np.random.default_rng(9)
    x, y = cohort(5000, rng)
    xv, yv = cohort(800, rng)
    model = DeepSurv()

    def cox_loss(log_risk, target):
        time, event = target[:, 0], target[:, 1]
        if variant == "fixed":
            order = time.argsort(descending=True)
            log_risk, event = log_risk[order], event[order]
        log_cum = torch.logcumsumexp(log_risk, dim=0)
        return -((log_risk - log_cum) * event).sum() / event.sum()

    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3),
            "train_loader": DataLoader(TensorDataset(x, y), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(xv, yv), batch_size=800), "loss_fn": cox_loss}


def main(variant):
    p = parts(variant)
    model, opt = p["model"], p["optimizer"]
    xv, yv = next(iter(p["val_loader"]))
    for epoch in range(40):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            c = concordance(model(xv), yv)
        if epoch % 5 == 0:
            print(f"epoch {epoch:2d}  -log PL {total / len(p['train_loader']):.4f}  val c-index {c:.3f}")
    print(f"score: {c:.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
