"""Bidirectional GRU that classifies a day of five soil probes into three watering regimes; mistake: every window is standardised by its own mean and std, a probe that stands still has std 0, 0/0 is NaN; change: a small number added to the std."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HOURS, PROBES = 48, 5


def make_days(n, seed):
    rng = np.random.RandomState(seed)
    days = np.zeros((n, HOURS, PROBES), dtype=np.float32)
    regime = rng.randint(0, 3, n)
    for i in range(n):
        every = (6, 10, 16)[regime[i]]
        since = rng.randint(0, every)
        level = rng.uniform(20, 40, PROBES)
        for h in range(HOURS):
            level = level - rng.uniform(0.2, 0.8, PROBES)
            since += 1
            if since >= every:
                level = level + 0.5 * every
                since = 0
            days[i, h] = level + rng.normal(0, 0.2, PROBES)
        if rng.rand() < 0.04:
            days[i, :, rng.randint(PROBES)] = 0.0      # probe not plugged in
    return days, regime


def standardise(days, eps):
    mean = days.mean(axis=1, keepdims=True)
    std = days.std(axis=1, keepdims=True)
    return (days - mean) / (std + eps)


class RegimeGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(PROBES, 40, batch_first=True, bidirectional=True)
        self.head = nn.Linear(80, 3)

    def forward(self, x):
        out, _ = self.gru(x)
        return self.head(out.mean(dim=1))


def parts(variant):
    torch.manual_seed(0)
    eps = 0.0 if variant == "bad" else 1e-6
    loaders = []
    for n, seed in ((1200, 3), (300, 4)):
        days, regime = make_days(n, seed)
        ds = TensorDataset(torch.from_numpy(standardise(days, eps)), torch.from_numpy(regime).long())
        loaders.append(DataLoader(ds, batch_size=40, shuffle=(seed == 3)))
    model = RegimeGRU()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": loaders[0], "val_loader": loaders[1]}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(1, 13):
        net.train()
        losses = []
        for xb, yb in p["train_loader"]:
            loss = p["loss_fn"](net(xb), yb)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            losses.append(loss.item())
        print("epoch %2d  train loss %.4f" % (epoch, np.mean(losses)))
    net.eval()
    with torch.no_grad():
        right = [(net(xb).argmax(1) == yb).float() for xb, yb in p["val_loader"]]
    score = torch.cat(right).mean().item()
    print(f"score: {score:.4f}")
