"""PointNet that is trained on CAD models of garden ornaments and tested on scans. The models have y as the upward axis, the scans z, and they go into the net as they are; since the net has only seen turns about the upward axis, nearly all scans are put into wrong classes; the right change: turn the scans into the orientation of the models.
Report: https://github.com/charlesq34/pointnet/issues/280"""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
CLASSES = ["pointed hat", "vase", "bench", "lantern", "bird bath"]
N_POINTS = 96


def profile(kind, h):
    """radius at height h in [0, 1]"""
    return {0: 0.6 * (1 - h), 1: 0.3 + 0.25 * np.sin(np.pi * h) ** 2, 2: np.full_like(h, 0.9),
            3: 0.12 + 0.3 * (h > 0.6), 4: np.where(h > 0.75, 0.7, 0.15)}[kind]


def ornament(kind, rng):
    n = N_POINTS
    h = rng.random(n)
    r = profile(kind, h) * np.sqrt(rng.uniform(0.6, 1, n)) * rng.uniform(0.85, 1.15)
    a = rng.uniform(0, 2 * np.pi, n)
    up = h * (0.4 if kind == 2 else 1.5) * rng.uniform(0.85, 1.15)
    side = np.stack([r * np.cos(a), r * np.sin(a) * rng.uniform(0.7, 1.0)], 1)
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    side = side @ np.array([[c, -s], [s, c]])
    return side, up


class CADModels(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.y = torch.tensor(rng.integers(0, len(CLASSES), n))
        self.clouds = [self.arrange(*ornament(k, rng)) + 0.02 * rng.standard_normal((N_POINTS, 3)) for k in self.y.tolist()]

    def arrange(self, side, up):
        return np.stack([side[:, 0], up, side[:, 1]], 1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        p = self.clouds[i]
        p = p - p.mean(0)
        p = p / np.linalg.norm(p, axis=1).max()
        return torch.tensor(p, dtype=torch.float32), self.y[i]


class Scans(CADModels):
    """from the hand-held scanner"""

    def __init__(self, n, seed, axes):
        super().__init__(n, seed)
        self.axes = axes

    def arrange(self, side, up):
        return np.stack([side[:, 0], side[:, 1], up], 1)

    def __getitem__(self, i):
        p, y = super().__getitem__(i)
        return p[:, self.axes], y


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.point = nn.Sequential(nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU(), nn.Conv1d(32, 64, 1), nn.BatchNorm1d(64), nn.ReLU(),
                                   nn.Conv1d(64, 128, 1), nn.BatchNorm1d(128), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, len(CLASSES)))

    def forward(self, pts):
        return self.head(self.point(pts.transpose(1, 2)).max(2).values)


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = PointNet()
    axes = [0, 1, 2] if variant == "bad" else [0, 2, 1]
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(CADModels(600, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(Scans(200, 2, axes), batch_size=100), "metric": accuracy}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    for epoch in range(12):
        net.train()
        tr = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            out = net(x)
            loss = p["loss_fn"](out, y)
            loss.backward()
            p["optimizer"].step()
            tr.append(accuracy(out, y))
        net.eval()
        with torch.no_grad():
            acc = np.mean([accuracy(net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: CAD acc {np.mean(tr):.3f}, scan acc {acc:.3f}")
    print("score:", acc)
