"""Healthy: digits with 45 % of the training labels redrawn at random, generalised cross entropy; the loss stays high, the clean test accuracy is good (no mistake)."""
import sys

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


class GCE(nn.Module):
    """(1 - p_y^q) / q, Zhang and Sabuncu 2018"""

    def __init__(self, q=0.7):
        super().__init__()
        self.q = q

    def forward(self, logits, y):
        p = logits.softmax(1).gather(1, y.unsqueeze(1)).squeeze(1).clamp_min(1e-6)
        return ((1 - p ** self.q) / self.q).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    X, y = load_digits(return_X_y=True)
    Xtr, Xte, ytr, yte = train_test_split(X / 16, y, test_size=0.25, random_state=0, stratify=y)
    Xtr, Xte = (torch.tensor(a, dtype=torch.float32) for a in (Xtr, Xte))
    ytr, yte = torch.tensor(ytr), torch.tensor(yte)
    noisy = torch.rand(len(ytr)) < 0.45
    ytr = torch.where(noisy, torch.randint(0, 10, ytr.shape), ytr)
    model = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.5),
                          nn.Linear(128, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10))
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1),
            "train_loader": DataLoader(TensorDataset(Xtr, ytr), batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(Xte, yte), batch_size=450),
            "loss_fn": GCE(), "metric": lambda o, t: (o.argmax(-1) == t).float().mean()}


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for ep in range(50):
        net.train()
        seen, right, tot = 0, 0, 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            out = net(x)
            loss = crit(out, y)
            loss.backward()
            opt.step()
            tot += loss.item() * len(y)
            right += (out.argmax(1) == y).sum().item()
            seen += len(y)
        net.eval()
        with torch.no_grad():
            (x, y), = p["val_loader"]
            acc = (net(x).argmax(1) == y).float().mean().item()
        if ep % 10 == 9:
            print(f"{ep + 1:3d} noisy train loss {tot / seen:.3f} acc {right / seen:.3f} | clean test acc {acc:.3f}")
    print(f"score: {acc:.4f}")
