"""Metric learning with triplets: scanned profiles of umbrella handles are to be grouped by carver, also for carvers never trained on. An ordinary sound script: anchors, positives and negatives drawn by the dataset, embeddings of unit length, margin 0.3; the score is how often the nearest neighbour among unseen carvers' handles has the same carver."""
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
DIM = 30


def carve(carvers, per_carver, rng, style_axes, nuisance_axes):
    styles = rng.normal(0, 1.0, (carvers, style_axes.shape[0]))
    profiles, ids = [], []
    for c in range(carvers):
        style = styles[c] + rng.normal(0, 0.18, (per_carver, styles.shape[1]))
        wear = rng.normal(0, 2.0, (per_carver, nuisance_axes.shape[0]))
        profiles.append(np.tanh(style @ style_axes) + wear @ nuisance_axes)
        ids += [c] * per_carver
    x = np.concatenate(profiles) + rng.normal(0, 0.1, (len(ids), DIM))
    return torch.tensor(x, dtype=torch.float32), np.array(ids)


class Triplets(Dataset):
    def __init__(self, x, ids, rng):
        self.x, self.ids, self.rng = x, ids, rng
        self.rows = {c: np.flatnonzero(ids == c) for c in np.unique(ids)}

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        own = self.ids[i]
        pos = i
        while pos == i:
            pos = self.rng.choice(self.rows[own])
        neg = self.rng.integers(len(self.ids))
        while self.ids[neg] == own:
            neg = self.rng.integers(len(self.ids))
        return self.x[i], self.x[pos], self.x[neg]


class HandleEncoder(nn.Module):
    def __init__(self, out=12):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(DIM, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, out))

    def forward(self, x):
        return F.normalize(self.net(x), dim=-1)


def training_step(model, batch):
    anchor, positive, negative = (model(x) for x in batch)
    return F.triplet_margin_loss(anchor, positive, negative, margin=0.3)


def recall_at_one(model, x, ids):
    with torch.no_grad():
        e = model(x)
    sim = e @ e.T
    sim.fill_diagonal_(-2)
    return float((ids[sim.argmax(1).numpy()] == ids).mean())


def parts(variant):
    torch.manual_seed(16)
    rng = np.random.default_rng(160)
    style_axes, nuisance_axes = rng.normal(0, 0.5, (6, DIM)), rng.normal(0, 0.5, (4, DIM))
    x, ids = carve(80, 20, rng, style_axes, nuisance_axes)
    new_x, new_ids = carve(25, 12, rng, style_axes, nuisance_axes)
    model = HandleEncoder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "training_step": training_step,
            "train_loader": DataLoader(Triplets(x, ids, rng), batch_size=64, shuffle=True),
            "new_carvers": (new_x, new_ids)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("before:", recall_at_one(p["model"], *p["new_carvers"]))
    for epoch in range(15):
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        if epoch % 5 == 4:
            print(f"epoch {epoch}: loss {loss.item():.4f}, recall {recall_at_one(p['model'], *p['new_carvers']):.3f}")
    print("score:", recall_at_one(p["model"], *p["new_carvers"]))
