"""PointNet that labels every laser point of an orchard tree as ground, trunk or crown; mistake: (batch, points, 3) is brought to Conv1d's (batch, 3, points) with view instead of transpose, coordinates of different points are mixed and the labels belong to other points; change: transpose(1, 2)."""
import sys
import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

N_POINTS = 128


def tree(rng):
    label = rng.randint(0, 3, N_POINTS)
    p = np.zeros((N_POINTS, 3))
    stem = rng.uniform(0.8, 1.6)
    crown = rng.uniform(0.5, 1.0)
    for i, k in enumerate(label):
        if k == 0:
            p[i] = [rng.uniform(-2, 2), rng.uniform(-2, 2), rng.normal(0, 0.04)]
        elif k == 1:
            a = rng.uniform(0, 2 * math.pi)
            p[i] = [0.12 * math.cos(a), 0.12 * math.sin(a), rng.uniform(0.05, stem)]
        else:
            v = rng.normal(size=3)
            p[i] = v / np.linalg.norm(v) * crown * rng.uniform(0.6, 1) + [0, 0, stem + crown * 0.8]
    p[:, :2] += rng.normal(0, 0.1, 2)
    return p - [0, 0, 1.0], label


def plots(n, seed):
    rng = np.random.RandomState(seed)
    trees = [tree(rng) for _ in range(n)]
    points = torch.tensor(np.stack([t[0] for t in trees]), dtype=torch.float32)
    labels = torch.tensor(np.stack([t[1] for t in trees]), dtype=torch.long)
    return TensorDataset(points, labels)


class PointNetSeg(nn.Module):
    def __init__(self, channels_first):
        super().__init__()
        self.channels_first = channels_first
        self.conv1 = nn.Conv1d(3, 32, 1)
        self.conv2 = nn.Conv1d(32, 64, 1)
        self.conv3 = nn.Conv1d(96, 64, 1)
        self.conv4 = nn.Conv1d(64, 3, 1)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm1d(32), nn.BatchNorm1d(64), nn.BatchNorm1d(64)

    def forward(self, pts):
        x = self.channels_first(pts)
        local = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(local)))
        world = x.max(dim=2, keepdim=True).values.expand(-1, -1, x.size(2))
        x = torch.cat([local, world], dim=1)
        return self.conv4(F.relu(self.bn3(self.conv3(x))))


def parts(variant):
    torch.manual_seed(0)
    if variant == "bad":
        channels_first = lambda pts: pts.view(pts.size(0), 3, -1)
    else:
        channels_first = lambda pts: pts.transpose(1, 2)
    model = PointNetSeg(channels_first)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(plots(600, 7), batch_size=20, shuffle=True),
            "val_loader": DataLoader(plots(150, 8), batch_size=50)}


WORKS = lambda score: score > 0.8   # share of held-out points with the right label

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        losses = []
        for pts, label in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(pts), label)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: {np.mean(losses):.4f}")
    model.eval()
    with torch.no_grad():
        ok = [(model(pts).argmax(1) == label).float().mean().item() for pts, label in p["val_loader"]]
    print(f"score: {np.mean(ok):.4f}")
