"""Triplet embedding (mean positive, hardest negative) of shifted digits, retrieval recall@1; mistake: the hardest negative is taken with max over distances in which the same-class entries are +inf, so the hinge is always 0; change: min, the nearest negative."""
import argparse
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

WORKS = lambda s: s > 0.75


class ShiftedDigits(Dataset):
    """8x8 digits pasted at a random place of a noisy 14x14 canvas."""

    def __init__(self, images, labels, fixed_seed=None):
        self.images, self.labels, self.fixed_seed = images, labels, fixed_seed

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        rng = np.random.default_rng(None if self.fixed_seed is None else self.fixed_seed + i)
        canvas = rng.normal(0, 0.15, (14, 14)).astype(np.float32)
        r, c = rng.integers(0, 7, 2)
        canvas[r:r + 8, c:c + 8] += self.images[i]
        return torch.from_numpy(canvas)[None], int(self.labels[i])


class PKSampler(Sampler):
    def __init__(self, labels, p=8, k=8, batches=40, seed=0):
        self.by_class = [np.flatnonzero(labels == c) for c in np.unique(labels)]
        self.p, self.k, self.batches, self.rng = p, k, batches, np.random.default_rng(seed)

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            classes = self.rng.choice(len(self.by_class), self.p, replace=False)
            yield np.concatenate([self.rng.choice(self.by_class[c], self.k, replace=False) for c in classes]).tolist()


class Embedder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 96, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, dim), nn.BatchNorm1d(dim))

    def forward(self, x):
        return nn.functional.normalize(self.features(x), dim=1)


class HardNegativeTriplet(nn.Module):
    def __init__(self, margin=0.3, hardest="min"):
        super().__init__()
        self.margin, self.hardest = margin, hardest

    def forward(self, z, y):
        sim = z @ z.t()
        same = y[:, None] == y[None, :]
        pos_dist = ((1 - sim) * same).sum(1) / (same.sum(1) - 1)
        neg_dist = 1 - sim.masked_fill(same, -float("inf"))
        hardest_neg = getattr(neg_dist, self.hardest)(dim=1).values
        return torch.relu(pos_dist - hardest_neg + self.margin).mean()


def parts(variant="fixed"):
    torch.manual_seed(7)
    data = load_digits()
    imgs = (data.images / 16).astype(np.float32)
    xa, xb, ya, yb = train_test_split(imgs, data.target, test_size=0.3, random_state=0, stratify=data.target)
    model = Embedder()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
                train_loader=DataLoader(ShiftedDigits(xa, ya), batch_sampler=PKSampler(ya)),
                val_loader=DataLoader(ShiftedDigits(xb, yb, fixed_seed=100), batch_size=256),
                loss_fn=HardNegativeTriplet(hardest="max" if variant == "bad" else "min"))


@torch.no_grad()
def recall_at_1(model, loader):
    model.eval()
    z, y = zip(*[(model(x), y) for x, y in loader])
    z, y = torch.cat(z), torch.cat(y)
    sim = (z @ z.t()).fill_diagonal_(-2)
    return (y[sim.argmax(1)] == y).float().mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=16)
    args = ap.parse_args()
    torch.set_num_threads(1)
    run = parts(args.variant)
    model, opt, loss_fn = run["model"], run["optimizer"], run["loss_fn"]
    for epoch in range(1, args.epochs + 1):
        model.train()
        losses = []
        for x, y in run["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"[{epoch:2d}/{args.epochs}] triplet {np.mean(losses):.4f}  R@1 {recall_at_1(model, run['val_loader']):.3f}")
    print("score:", round(recall_at_1(model, run["val_loader"]), 4))
