"""Rates the risk of a bird strike of take-offs from radar, weather and hour. What could look odd: only three of a hundred labels are one, some batches hold one or none of them, the loss begins near 0.14 and seems hardly to move, and nothing is reweighted. Why it is right: plain cross entropy gives probabilities as they are, the last bias begins at the log odds of the base rate, and the score is the area under the ROC curve."""
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def take_offs(n, rng):
    flock = rng.gamma(0.7, 1.5, n)
    height = rng.uniform(0, 1, n)
    hour = rng.uniform(4, 23, n)
    month = rng.integers(1, 13, n)
    rain = (rng.random(n) < 0.25).astype(float)
    engine = rng.integers(0, 3, n)
    dusk = np.exp(-0.5 * ((hour - 6.5) / 1.3) ** 2) + np.exp(-0.5 * ((hour - 20) / 1.3) ** 2)
    migration = np.isin(month, [3, 4, 9, 10])
    logit = -6.1 + 0.9 * flock * (1 - height) + 2.6 * dusk + 1.6 * migration - 0.6 * rain
    strike = rng.random(n) < 1 / (1 + np.exp(-logit))
    x = np.column_stack([np.log1p(flock), height, np.sin(hour / 24 * 2 * np.pi), np.cos(hour / 24 * 2 * np.pi),
                         np.cos(hour / 6 * np.pi), np.eye(12)[month - 1], rain, np.eye(3)[engine]])
    return x.astype(np.float32), strike.astype(np.float32)


class StrikeRisk(nn.Module):
    def __init__(self, n_in, base_rate):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.out = nn.Linear(16, 1)
        nn.init.constant_(self.out.bias, float(np.log(base_rate / (1 - base_rate))))

    def forward(self, x):
        return self.out(self.layers(x)).squeeze(-1)


def auc(logits, y):
    return roc_auc_score(y.numpy(), logits.numpy())


def parts(variant):
    torch.manual_seed(21)
    rng = np.random.default_rng(210)
    (x, y), (xv, yv) = take_offs(6000, rng), take_offs(3000, rng)
    mean, std = x.mean(0), x.std(0) + 1e-6
    pack = lambda a, b: TensorDataset(torch.from_numpy((a - mean) / std), torch.from_numpy(b))
    model = StrikeRisk(x.shape[1], y.mean())
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02),
            "loss_fn": nn.BCEWithLogitsLoss(), "metric": auc,
            "train_loader": DataLoader(pack(x, y), batch_size=100, shuffle=True),
            "val_loader": DataLoader(pack(xv, yv), batch_size=3000)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    print(f"strikes in training: {p['train_loader'].dataset.tensors[1].mean():.4f}")
    for epoch in range(8):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")
    model.eval()
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        print("score:", p["metric"](model(x), y))
