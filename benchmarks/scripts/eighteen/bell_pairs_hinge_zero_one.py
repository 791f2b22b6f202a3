"""Siamese net that tells whether two recordings are of the same bell, under HingeEmbeddingLoss; the labels are 1 and 0 where the loss wants 1 and -1, so nothing pushes different bells apart (bad). change: labels 2 * same - 1."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

BELLS = 12


def strike(bell, rng):
    """Sixty-four samples of partials that ring down, begun at any moment."""
    own = np.random.default_rng(100 + bell)
    freq, amp = own.uniform(0.2, 2.5, 3), own.uniform(0.4, 1.0, 3)
    t = np.arange(64) + rng.uniform(0, 3)
    x = sum(a * np.sin(f * t + rng.uniform(0, 0.8)) for f, a in zip(freq, amp)) * np.exp(-t / 50)
    return (x + 0.1 * rng.normal(size=64)).astype(np.float32)


class BellPairs(Dataset):
    def __init__(self, n, seed, variant):
        rng = np.random.default_rng(seed)
        self.items = []
        for i in range(n):
            same = i % 2
            a = rng.integers(BELLS)
            b = a if same else (a + rng.integers(1, BELLS)) % BELLS
            label = float(same) if variant == "bad" else 2.0 * same - 1.0
            self.items.append((torch.from_numpy(strike(a, rng)), torch.from_numpy(strike(b, rng)), torch.tensor(label)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Conv1d(1, 16, 7, 2, 3), nn.ReLU(), nn.Conv1d(16, 32, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 16))

    def forward(self, a, b):
        return F.pairwise_distance(self.embed(a.unsqueeze(1)), self.embed(b.unsqueeze(1)))


criterion = nn.HingeEmbeddingLoss(margin=2.0)


def training_step(model, batch):
    a, b, label = batch
    return criterion(model(a, b), label)


def parts(variant):
    torch.manual_seed(0)
    model = Siamese()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(BellPairs(3000, 1, variant), 50, shuffle=True), "val_loader": DataLoader(BellPairs(800, 2, variant), 800)}


@torch.no_grad()
def accuracy(model, loader):
    a, b, label = next(iter(loader))
    return ((model(a, b) < 1.0) == (label > 0.5)).float().mean().item()


WORKS = lambda score: score > 0.85  # share of pairs judged rightly at half the margin

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"[{epoch + 1:2d}] loss {np.mean(losses):.4f} accuracy {accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
