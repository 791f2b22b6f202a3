"""No mistake: 45% of the training labels are random, trained with generalised cross entropy (q=0.7); training accuracy stays near 0.6 while clean test accuracy is high; change: nothing."""
import argparse
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.88


class GCELoss(nn.Module):
    """Zhang & Sabuncu 2018: (1 - p_y^q) / q"""

    def __init__(self, q=0.7):
        super().__init__()
        self.q = q

    def forward(self, logits, target):
        p = logits.softmax(1).gather(1, target[:, None]).squeeze(1).clamp(min=1e-6)
        return ((1 - p ** self.q) / self.q).mean()


def noisy_digits(rate, seed):
    rng = np.random.default_rng(seed)
    d = load_digits()
    idx = rng.permutation(len(d.target))
    x = torch.tensor(d.data[idx] / 16, dtype=torch.float32)
    y = d.target[idx].copy()
    flip = rng.random(1300) < rate
    y[:1300][flip] = rng.integers(0, 10, flip.sum())
    y = torch.tensor(y)
    return TensorDataset(x[:1300], y[:1300]), TensorDataset(x[1300:], y[1300:])


def acc(out, y):
    return (out.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(3)
    train, test = noisy_digits(0.45, 3)
    model = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.5),
                          nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4),
                train_loader=DataLoader(train, batch_size=64, shuffle=True, drop_last=True),
                val_loader=DataLoader(test, batch_size=250), loss_fn=GCELoss(), metric=acc)


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=80)
    a = ap.parse_args()
    p = parts(a.variant)
    for epoch in range(a.epochs):
        p["model"].train()
        tr = []
        for x, y in p["train_loader"]:
            out = p["model"](x)
            loss = p["loss_fn"](out, y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            tr.append(acc(out, y))
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} loss {loss.item():.3f} (noisy) train acc {np.mean(tr):.3f}")
    p["model"].eval()
    x, y = p["val_loader"].dataset.tensors
    with torch.no_grad():
        print(f"score: {acc(p['model'](x), y):.4f}")
