"""Kind of an object from its point cloud, PointNet, multi-class hinge loss, SGD; the max of a Conv1d version (batch, channels, points) is kept, max(2), after the layers became Linear, (batch, points, channels): it goes over channels; change: max(1)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

POINTS, KINDS = 128, 6


def clouds(n, seed):
    rng = np.random.default_rng(seed)
    xs, ys = np.zeros((n, POINTS, 3), dtype=np.float32), rng.integers(0, KINDS, n)
    for i in range(n):
        u = rng.standard_normal((POINTS, 3))
        u /= np.linalg.norm(u, axis=1, keepdims=True)
        t = rng.uniform(0, 2 * np.pi, POINTS)
        z = rng.uniform(-1, 1, POINTS)
        if ys[i] == 0:
            p = u
        elif ys[i] == 1:
            p = u / np.abs(u).max(1, keepdims=True)
        elif ys[i] == 2:
            p = np.stack([np.cos(t), np.sin(t), z], 1)
        elif ys[i] == 3:
            r = (1 - z) / 2
            p = np.stack([r * np.cos(t), r * np.sin(t), z], 1)
        elif ys[i] == 4:
            s = rng.uniform(0, 2 * np.pi, POINTS)
            p = np.stack([(1 + 0.4 * np.cos(s)) * np.cos(t), (1 + 0.4 * np.cos(s)) * np.sin(t), 0.4 * np.sin(s)], 1)
        else:
            p = np.stack([np.cos(2 * np.pi * z), np.sin(2 * np.pi * z), z], 1)
        a = rng.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        p = (p * rng.uniform(0.8, 1.2, 3)) @ turn.T + 0.04 * rng.standard_normal(p.shape)
        p -= p.mean(0)
        xs[i] = p / np.sqrt((p ** 2).sum(1).mean())
    return torch.tensor(xs), torch.tensor(ys)


class PointNet(nn.Module):
    def __init__(self, axis):
        super().__init__()
        self.axis = axis
        self.shared = nn.Sequential(nn.Linear(3, 32), nn.LayerNorm(32), nn.ReLU(),
                                    nn.Linear(32, 64), nn.LayerNorm(64), nn.ReLU(),
                                    nn.Linear(64, 128))
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, KINDS))

    def forward(self, points):
        h = self.shared(points)
        g = h.max(self.axis).values
        return self.head(g)


def parts(variant):
    torch.manual_seed(0)
    model = PointNet(axis=2 if variant == "bad" else 1)
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
        "loss_fn": nn.MultiMarginLoss(),
        "train_loader": DataLoader(TensorDataset(*clouds(1200, 1)), batch_size=30, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*clouds(400, 2)), batch_size=100),
        "metric": lambda output, target: (output.argmax(1) == target).float().mean().item(),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    best = 0.0
    for epoch in range(10):
        model.train()
        for points, kind in p["train_loader"]:
            loss = p["loss_fn"](model(points), kind)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch == 6:
            opt.param_groups[0]["lr"] = 0.01
        model.eval()
        with torch.no_grad():
            right = torch.cat([model(points).argmax(1) == kind for points, kind in p["val_loader"]])
        value = right.float().mean().item()
        print(f"epoch {epoch}: train loss {loss.item():.4f} accuracy {value:.3f}")
    print(f"score: {value:.4f}")
