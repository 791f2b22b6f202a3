"""Embedding of door keys by triplets; TripletMarginLoss is called with (anchor, negative, positive), so keys of one lock are pushed apart. change: (anchor, positive, negative)."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader


def key_profiles(locks, per_lock, seed):
    g = torch.Generator().manual_seed(seed)
    cuts = torch.randn(locks, 10, generator=g)
    rough = F.interpolate(cuts[:, None], size=60, mode="linear")[:, 0]
    wear = 0.6 * torch.randn(locks, per_lock, 60, generator=g) + 0.8 * torch.randn(locks, per_lock, 1, generator=g)
    tilt = torch.randn(locks, per_lock, 1, generator=g) * torch.linspace(-1, 1, 60)
    return rough[:, None] + wear + tilt


class TripletKeys(Dataset):
    def __init__(self, profiles):
        self.profiles = profiles
        self.locks, self.per_lock = profiles.shape[:2]

    def __len__(self):
        return self.locks * self.per_lock

    def __getitem__(self, i):
        lock, k = divmod(i, self.per_lock)
        other = (lock + torch.randint(1, self.locks, (1,)).item()) % self.locks
        mate = (k + torch.randint(1, self.per_lock, (1,)).item()) % self.per_lock
        return self.profiles[lock, k], self.profiles[lock, mate], self.profiles[other, k]


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(60, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 16))
    triplet_loss = nn.TripletMarginLoss(margin=1.0)

    def training_step(model, batch):
        anchor, positive, negative = (model(b) for b in batch)
        if variant == "bad":
            return triplet_loss(anchor, negative, positive)
        return triplet_loss(anchor, positive, negative)

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(TripletKeys(key_profiles(200, 8, 1)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TripletKeys(key_profiles(50, 8, 2)), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(20):
        epoch_loss = 0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            epoch_loss += loss.item()
        print(f"epoch {epoch}: {epoch_loss / len(p['train_loader']):.4f}")
    with torch.no_grad():
        right = []
        for a, pos, neg in p["val_loader"]:
            a, pos, neg = model(a), model(pos), model(neg)
            right.append(((a - pos).norm(dim=1) < (a - neg).norm(dim=1)).float())
    print(f"score: {torch.cat(right).mean().item():.4f}")
