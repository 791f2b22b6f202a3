"""Triplet network for the marks potters press into clay; nn.TripletMarginWithDistanceLoss is given nn.CosineSimilarity() as its distance function, which is large for equal things, so marks of one potter are driven apart and others together; the right change: 1 - cosine similarity."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE, POTTERS = 20, 16


class Marks(Dataset):
    """Returns anchor, positive, negative."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        shapes = np.random.default_rng(7).uniform(-7, 7, (POTTERS, 4, 2))
        yy, xx = np.mgrid[0:SIZE, 0:SIZE] - (SIZE - 1) / 2
        self.y = np.arange(n) % POTTERS
        self.x = np.zeros((n, 1, SIZE, SIZE), dtype=np.float32)
        for i, p in enumerate(self.y):
            a = rng.normal(0, 0.15)
            rot = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
            pts = (shapes[p] @ rot.T) * rng.uniform(0.85, 1.15) + rng.normal(0, 1.2, 2)
            for q, r in zip(pts[:-1], pts[1:]):
                for t in np.linspace(0, 1, 9):
                    u = q + t * (r - q)
                    self.x[i, 0] = np.maximum(self.x[i, 0], np.exp(-((xx - u[0]) ** 2 + (yy - u[1]) ** 2) / 1.5))
            self.x[i, 0] += rng.normal(0, 0.25, (SIZE, SIZE))
        self.rng = np.random.default_rng(seed + 100)
        self.same = [np.flatnonzero(self.y == p) for p in range(POTTERS)]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        j = i
        while j == i:
            j = self.rng.choice(self.same[self.y[i]])
        other = (self.y[i] + self.rng.integers(1, POTTERS)) % POTTERS
        k = self.rng.choice(self.same[other])
        return self.x[i], self.x[j], self.x[k]


class MarkNet(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(32 * 25, 128), nn.ReLU(), nn.Linear(128, dim))

    def forward(self, x):
        return self.net(x)


class CosineDistance(nn.Module):
    def forward(self, a, b):
        return 1 - torch.cosine_similarity(a, b)


def parts(variant):
    torch.manual_seed(0)
    model = MarkNet()
    distance = nn.CosineSimilarity() if variant == "bad" else CosineDistance()
    triplet = nn.TripletMarginWithDistanceLoss(distance_function=distance, margin=0.5)

    def training_step(model, batch):
        anchor, positive, negative = batch
        return triplet(model(anchor), model(positive), model(negative))

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(Marks(1600, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(Marks(320, 1), batch_size=64)}


@torch.no_grad()
def recall_at_1(model, data):
    model.eval()
    z = nn.functional.normalize(model(torch.from_numpy(data.x)), dim=1)
    sim = z @ z.T - 2 * torch.eye(len(z))
    y = torch.from_numpy(data.y)
    model.train()
    return (y[sim.argmax(1)] == y).float().mean().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    print("before training:", recall_at_1(model, p["val_loader"].dataset))
    for epoch in range(15):
        losses = []
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        score = recall_at_1(model, p["val_loader"].dataset)
        print(f"epoch {epoch}: triplet loss {np.mean(losses):.4f}, recall@1 {score:.3f}")
    print("score:", score)
