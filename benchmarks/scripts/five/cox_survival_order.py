"""Cox model on simulated clinical data; the running log-sum-exp goes over times in rising order, so each risk set holds those who left before, not those still there; change: sorts by falling time."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def simulate(n, seed):
    r = np.random.RandomState(seed)
    x = r.randn(n, 8)
    risk = 0.9 * x[:, 0] - 0.7 * x[:, 1] + 0.8 * np.abs(x[:, 2]) + 0.6 * x[:, 3] * (x[:, 4] > 0)
    t_event = r.exponential(np.exp(-risk)) ** 0.7
    t_cens = r.exponential(2.0, n)
    time = np.minimum(t_event, t_cens)
    event = (t_event <= t_cens).astype(np.float32)
    return (torch.tensor(x, dtype=torch.float32), torch.tensor(np.stack([time, event], 1), dtype=torch.float32))


class CoxLoss(nn.Module):
    """Negative partial log-likelihood (Breslow), over the batch."""

    def __init__(self, descending=True):
        super().__init__()
        self.descending = descending

    def forward(self, log_hazard, target):
        time, event = target[:, 0], target[:, 1]
        order = torch.argsort(time, descending=self.descending)
        h, e = log_hazard.squeeze(1)[order], event[order]
        log_risk_set = torch.logcumsumexp(h, dim=0)
        return -((h - log_risk_set) * e).sum() / e.sum().clamp(min=1.0)


def c_index(log_hazard, target):
    time, event = target[:, 0], target[:, 1].bool()
    h = log_hazard.squeeze(1)
    comparable = (time[:, None] < time[None, :]) & event[:, None]
    right = (h[:, None] > h[None, :]).float() + 0.5 * (h[:, None] == h[None, :]).float()
    return (right * comparable).sum() / comparable.sum()


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(8, 64), nn.SELU(), nn.Dropout(0.1),
        nn.Linear(64, 64), nn.SELU(), nn.Dropout(0.1),
        nn.Linear(64, 1, bias=False),
    )
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2),
        "train_loader": DataLoader(TensorDataset(*simulate(4000, 0)), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*simulate(1000, 1)), batch_size=1000),
        "loss_fn": CoxLoss(descending=variant != "bad"),
        "metric": c_index,
    }


WORKS = lambda score: score > 0.68

if __name__ == "__main__":
    torch.set_num_threads(1)
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(120):
        model.train()
        running = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item()
        if (epoch + 1) % 15 == 0:
            print(f"epoch {epoch + 1}: partial likelihood loss {running / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        print(f"score: {c_index(model(x), y).item():.4f}")
