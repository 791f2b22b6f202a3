"""A CNN looks for a rare misprint (about 2 in 100) in cuttings of banknotes. Looks odd, is sound: positives weigh 15 times, the last bias begins at the log odds that fit weights and rarity, the accuracy says nothing, and the score is the average precision on new sheets. There is no mistake and nothing to change; the variant is ignored."""
import math
import sys

import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import average_precision_score
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIZE, RATE, WEIGHT = 16, 0.02, 15.0


def cuttings(n, seed):
    """Guilloche lines; in a misprint one half has slipped sideways."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:SIZE, :SIZE]
    bad = (rng.random(n) < RATE).astype(np.float32)
    pictures = np.empty((n, 1, SIZE, SIZE), dtype=np.float32)
    for i in range(n):
        slip = np.where(yy >= rng.integers(5, 11), rng.choice([-1, 1]) * rng.uniform(1.8, 2.6), 0) if bad[i] else 0
        phase = rng.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * (xx + slip) / 6 + phase + 0.12 * yy)
        pictures[i, 0] = rng.uniform(0.8, 1.2) * wave + rng.normal(0, 0.5, (SIZE, SIZE))
    return TensorDataset(torch.from_numpy(pictures), torch.from_numpy(bad))


class MisprintNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.fc = nn.Linear(32, 1)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.constant_(self.fc.bias, math.log(WEIGHT * RATE / (1 - RATE)))

    def forward(self, x):
        return self.fc(self.conv(x).amax((2, 3))).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    net = MisprintNet()
    return {"model": net,
            "optimizer": torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-3),
            "loss_fn": nn.BCEWithLogitsLoss(pos_weight=torch.tensor(WEIGHT)),
            "train_loader": DataLoader(cuttings(4500, 60), batch_size=64, shuffle=True),
            "val_loader": DataLoader(cuttings(2000, 61), batch_size=500)}


def average_precision(net, loader):
    net.eval()
    with torch.no_grad():
        scores = torch.cat([net(x) for x, _ in loader])
    truth = torch.cat([y for _, y in loader])
    return float(average_precision_score(truth.numpy(), scores.numpy()))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(5):
        net.train()
        total, caught = 0.0, 0
        for x, y in p["train_loader"]:
            out = net(x)
            loss = p["loss_fn"](out, y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
            caught += int(((out > 0) & (y == 1)).sum())
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.3f}, caught {caught}, "
              f"average precision {average_precision(net, p['val_loader']):.3f}")
    print("score:", average_precision(net, p["val_loader"]))
