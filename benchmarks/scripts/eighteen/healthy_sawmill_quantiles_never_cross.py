"""Five quantiles of the yield of a sawmill; the median plus softplus gaps above and below, pinball loss, ReduceLROnPlateau; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

TAUS = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])


def logs(n, seed):
    rng = np.random.default_rng(seed)
    length, girth, taper, knots = rng.normal(size=(4, n))
    spread = np.exp(0.4 * girth - 0.3 * knots)
    y = 2 * girth + length - 0.8 * taper ** 2 + spread * rng.standard_t(5, n)
    return TensorDataset(torch.tensor(np.stack([length, girth, taper, knots], 1), dtype=torch.float32), torch.tensor(y, dtype=torch.float32))


class QuantileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.median, self.gaps = nn.Linear(64, 1), nn.Linear(64, 4)

    def forward(self, x):
        h = self.body(x)
        mid, gap = self.median(h), F.softplus(self.gaps(h))
        low1, high1 = mid - gap[:, :1], mid + gap[:, 1:2]
        return torch.cat([low1 - gap[:, 2:3], low1, mid, high1, high1 + gap[:, 3:]], 1)


def pinball(pred, y):
    e = y.unsqueeze(1) - pred
    return torch.maximum(TAUS * e, (TAUS - 1) * e).sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    model = QuantileNet()
    optimizer = torch.optim.NAdam(model.parameters(), lr=2e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": pinball,
            "train_loader": DataLoader(logs(6000, 1), batch_size=100, shuffle=True),
            "val_loader": DataLoader(logs(2000, 2), batch_size=200)}


WORKS = lambda score: score < 0.06

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(p["optimizer"], factor=0.5, patience=2)
    for epoch in range(25):
        model.train()
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val = np.mean([p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]])
        plateau.step(val)
        print(f"epoch {epoch} train {total / len(p['train_loader']):.4f} val {val:.4f}")
    with torch.no_grad():
        share = torch.cat([(y.unsqueeze(1) <= model(x)).float() for x, y in p["val_loader"]]).mean(0)
    print("coverage", share.tolist())
    print(f"score: {(share - TAUS).abs().max().item():.4f}")
