"""Attention pooling over the drones of a light show (a padded set of positions) that names the formation. The mask is True where there is a drone, and masked_fill puts the scores to -1e9 where the mask is True, so the pooling looks at the padding only and the net answers the same for every show; the right change: ~mask in masked_fill."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

torch.set_num_threads(1)
FORMATIONS = ["globe", "helix", "heart", "cube", "wave"]


def fly(name, n, rng):
    a = rng.uniform(0, 2 * np.pi, n)
    if name == "globe":
        p = rng.normal(size=(n, 3))
        p /= np.linalg.norm(p, axis=1, keepdims=True)
    elif name == "helix":
        h = rng.uniform(-1, 1, n)
        p = np.stack([0.7 * np.cos(5 * h), 0.7 * np.sin(5 * h), h], 1)
    elif name == "heart":
        p = np.stack([np.sin(a) ** 3, 0 * a, (13 * np.cos(a) - 5 * np.cos(2 * a) - 2 * np.cos(3 * a)) / 14], 1)
    elif name == "cube":
        p = rng.uniform(-0.8, 0.8, (n, 3))
        p[np.arange(n), rng.integers(0, 3, n)] = 0.8 * rng.choice([-1, 1], n)
    else:
        xy = rng.uniform(-1, 1, (n, 2))
        p = np.column_stack([xy, 0.4 * np.sin(4 * xy[:, 0])])
    t = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    return (p @ turn.T * rng.uniform(0.8, 1.2) + rng.normal(0, 0.05, (n, 3))).astype(np.float32)


def shows(count, seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(FORMATIONS), count)
    return [(torch.from_numpy(fly(FORMATIONS[k], int(rng.integers(25, 60)), rng)), int(k)) for k in kinds]


def collate(batch, room=64):
    clouds = torch.zeros(len(batch), room, 3)
    present = torch.zeros(len(batch), room, dtype=torch.bool)
    for i, (points, _) in enumerate(batch):
        clouds[i, :len(points)] = points
        present[i, :len(points)] = True
    return (clouds, present), torch.tensor([k for _, k in batch])


class AttentionPool(nn.Module):
    def __init__(self, dim, heads, flip):
        super().__init__()
        self.score = nn.Linear(dim, heads)
        self.flip = flip

    def forward(self, h, mask):
        if self.flip:
            mask = ~mask
        scores = self.score(h).masked_fill(mask.unsqueeze(-1), -1e9)
        return torch.einsum("bnh,bnd->bhd", scores.softmax(1), h).flatten(1)


class FormationNet(nn.Module):
    def __init__(self, dim=64, heads=6, flip=True):
        super().__init__()
        self.point = nn.Sequential(nn.Linear(3, dim), nn.GELU(), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim), nn.GELU())
        self.pool = AttentionPool(dim, heads, flip)
        self.out = nn.Sequential(nn.Linear(dim * heads, 64), nn.GELU(), nn.Linear(64, len(FORMATIONS)))

    def forward(self, inputs):
        clouds, present = inputs
        return self.out(self.pool(self.point(clouds), present))


def parts(variant):
    torch.manual_seed(0)
    model = FormationNet(flip=variant != "bad")
    make = lambda n, seed, shuffle: DataLoader(shows(n, seed), batch_size=40, shuffle=shuffle, collate_fn=collate)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3),
            "loss_fn": nn.CrossEntropyLoss(), "train_loader": make(1600, 40, True), "val_loader": make(400, 41, False)}


WORKS = lambda score: score > 0.9


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        return float(np.mean([(model(x).argmax(1) == y).float().mean().item() for x, y in loader]))


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(15):
        model.train()
        running = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            p["optimizer"].step()
            running += loss.item() / len(p["train_loader"])
        print(f"epoch {epoch}: {running:.3f}, val {evaluate(model, p['val_loader']):.3f}")
    print("score:", evaluate(model, p["val_loader"]))
