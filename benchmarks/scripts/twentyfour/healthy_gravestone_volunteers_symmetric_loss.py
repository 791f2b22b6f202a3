"""Sorts gravestones by period from measured traits; volunteers typed the periods and about 40 in 100 are wrong at random. Looks odd, is sound: a cross-entropy mixed with its reverse, which does not learn the slips by heart, so the loss stays high and the training accuracy stops near 0.6, while the accuracy on the stones that were checked is high. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
PERIODS, TRAITS, STYLES = 6, 24, 3


def stones(n, seed, slips=0.0):
    fixed, rng = np.random.default_rng(1850), np.random.default_rng(seed)
    styles = fixed.normal(0, 1.15, (PERIODS, STYLES, TRAITS))
    period = rng.integers(0, PERIODS, n)
    x = styles[period, rng.integers(0, STYLES, n)] + rng.normal(0, 1.0, (n, TRAITS))
    typed = period.copy()
    wrong = rng.random(n) < slips
    typed[wrong] = (period[wrong] + rng.integers(1, PERIODS, wrong.sum())) % PERIODS
    return torch.tensor(x, dtype=torch.float32), torch.tensor(typed)


class SymmetricCrossEntropy(nn.Module):
    """alpha * CE(label, p) + beta * CE(p, label), log 0 of the label taken as -4."""

    def __init__(self, alpha=0.2, beta=1.0, log_zero=-4.0):
        super().__init__()
        self.alpha, self.beta, self.log_zero = alpha, beta, log_zero

    def forward(self, logits, y):
        p = logits.softmax(1)
        reverse = -self.log_zero * (1 - p.gather(1, y[:, None]).squeeze(1))
        return self.alpha * F.cross_entropy(logits, y) + self.beta * reverse.mean()


def build_model():
    return nn.Sequential(nn.Linear(TRAITS, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, PERIODS))


def accuracy(logits, y):
    return (logits.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = build_model()
    typed, checked = stones(4000, 3, slips=0.4), stones(800, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[12, 17], gamma=0.2),
        "loss_fn": SymmetricCrossEntropy(),
        "train_loader": DataLoader(TensorDataset(*typed), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*checked), batch_size=400),
        "metric": accuracy,
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        loss_sum = acc_sum = 0.0
        for x, typed in p["train_loader"]:
            out = model(x)
            loss = p["loss_fn"](out, typed)
            opt.zero_grad()
            loss.backward()
            opt.step()
            loss_sum += loss.item()
            acc_sum += p["metric"](out, typed)
        p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            checked = float(np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]]))
        n = len(p["train_loader"])
        print(f"epoch {epoch:2d} loss {loss_sum / n:.3f} agrees with volunteers {acc_sum / n:.3f} checked stones {checked:.3f}")
    print("score:", checked)
