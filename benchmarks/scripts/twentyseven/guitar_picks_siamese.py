"""A siamese network learns whether two photos show the same guitar pick, with the contrastive loss. The pairs carry 1 for "same", the loss takes 1 for "different" (as in the paper), so equal picks are pushed apart and others pulled together; the right change: y * d^2 + (1 - y) * relu(margin - d)^2."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE, PICKS = 20, 30


class PickCollection:
    """Every pick has an outline (width, length, point) and a print of a few waves."""

    def __init__(self, seed):
        self.g = torch.Generator().manual_seed(seed)
        r = torch.rand(PICKS, 7, generator=self.g)
        self.width, self.length, self.point = 0.5 + 0.35 * r[:, 0], 0.6 + 0.3 * r[:, 1], 0.6 + 1.2 * r[:, 2]
        self.freq, self.angle, self.tone = 3 + 7 * r[:, 3], 3.1 * r[:, 4], 0.4 + 0.6 * r[:, 5]

    def photo(self, k):
        rand = lambda s: s * torch.randn((), generator=self.g)
        ys, xs = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
        a = rand(0.12)
        x, y = xs * a.cos() - ys * a.sin() + rand(0.06), xs * a.sin() + ys * a.cos() + rand(0.06)
        down = ((y + self.length[k]) / (2 * self.length[k])).clamp(0, 1)
        half = self.width[k] * (1 - down ** (1 + 2 * self.point[k]))
        inside = torch.sigmoid(14 * (half - x.abs())) * torch.sigmoid(14 * (self.length[k] - y.abs()))
        wave = torch.sin(self.freq[k] * (x * self.angle[k].cos() + y * self.angle[k].sin()))
        image = inside * self.tone[k] * (1 + 0.4 * wave) * (1 + rand(0.1))
        return (image + 0.08 * torch.randn(SIZE, SIZE, generator=self.g))[None]


class PickPairs(Dataset):
    def __init__(self, photos, n, seed):
        rng = np.random.default_rng(seed)
        self.photos, self.pairs = photos, []
        for i in range(n):
            same = i % 2
            a = rng.integers(PICKS)
            b = a if same else (a + rng.integers(1, PICKS)) % PICKS
            i_a, i_b = rng.choice(photos.shape[1], 2, replace=False)
            self.pairs.append((a, i_a, b, i_b, float(same)))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        a, i_a, b, i_b, same = self.pairs[i]
        return torch.stack([self.photos[a, i_a], self.photos[b, i_b]]), torch.tensor(same)


class SiameseNet(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                    nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                    nn.Flatten(), nn.Linear(24 * 25, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, pairs):
        left, right = self.branch(pairs[:, 0]), self.branch(pairs[:, 1])
        return F.pairwise_distance(left, right)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, distance, label):
        near = distance.pow(2)
        far = F.relu(self.margin - distance).pow(2)
        return (label * near + (1 - label) * far).mean()


class ContrastiveLossHadsell(ContrastiveLoss):
    def forward(self, distance, label):
        near = distance.pow(2)
        far = F.relu(self.margin - distance).pow(2)
        return ((1 - label) * near + label * far).mean()


def verification_auc(distances, labels):
    return roc_auc_score(labels.numpy(), -distances.numpy())


def parts(variant):
    torch.manual_seed(9)
    collection = PickCollection(9)
    photos = torch.stack([torch.stack([collection.photo(k) for _ in range(28)])
                          for k in range(PICKS)])
    model = SiameseNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": ContrastiveLossHadsell() if variant == "bad" else ContrastiveLoss(),
            "metric": verification_auc,
            "train_loader": DataLoader(PickPairs(photos[:, :20], 2400, 0), batch_size=50, shuffle=True),
            "val_loader": DataLoader(PickPairs(photos[:, 20:], 500, 1), batch_size=500)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(4):
        p["model"].train()
        for pairs, label in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](pairs), label)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            (pairs, label), = p["val_loader"]
            auc = p["metric"](p["model"](pairs), label)
        print(f"epoch {epoch}: loss {loss.item():.4f} auc {auc:.3f}")
    print("score:", auc)
