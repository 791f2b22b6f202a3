"""Siamese net with contrastive loss: some pairs are an image with itself, distance sqrt(0), whose gradient is NaN; change: `fixed` adds a small number under the root."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

WORKS = lambda score: score > 0.85
MARGIN = 1.5


class Pairs(Dataset):
    """Half of the pairs are of one class, drawn with replacement."""

    def __init__(self, x, y, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = x
        a = torch.randint(0, len(x), (n,), generator=g)
        self.same = (torch.arange(n) % 2 == 0).float()
        b = []
        for i, s in zip(a, self.same):
            pool = torch.where((y == y[i]) == bool(s))[0]
            b.append(pool[torch.randint(0, len(pool), (1,), generator=g)].item())
        self.a, self.b = a.tolist(), b

    def __len__(self):
        return len(self.a)

    def __getitem__(self, i):
        return self.x[self.a[i]], self.x[self.b[i]], self.same[i]


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.PReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.PReLU(), nn.MaxPool2d(2))
        self.fc = nn.Sequential(nn.Linear(128, 64), nn.PReLU(), nn.Linear(64, 16))

    def forward_once(self, x):
        return self.fc(self.conv(x).flatten(1))

    def forward(self, a, b):
        return self.forward_once(a), self.forward_once(b)


def data():
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(d.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    x, y = x[order], y[order]
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


def parts(variant):
    torch.manual_seed(0)
    tr, te = data()
    eps = 1e-8 if variant == "fixed" else 0.0
    model = Embedder()

    def contrastive(model, batch):
        a, b, same = batch
        ea, eb = model(a, b)
        dist = torch.sqrt((ea - eb).pow(2).sum(1) + eps)
        return (same * dist.pow(2) + (1 - same) * F.relu(MARGIN - dist).pow(2)).mean()

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": contrastive,
            "train_loader": DataLoader(Pairs(*tr, 4000, 1), batch_size=64, shuffle=True), "val_loader": DataLoader(Pairs(*te, 1000, 2), batch_size=250)}


@torch.no_grad()
def verification_accuracy(model, loader):
    """Same or not, by a threshold at half of the margin."""
    right = 0
    for a, b, same in loader:
        ea, eb = model(a, b)
        right += (((ea - eb).norm(dim=1) < MARGIN / 2).float() == same).sum().item()
    return right / len(loader.dataset)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        running = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            running += loss.item()
        print(f"Epoch {epoch}: loss {running / len(p['train_loader']):.4f} verification {verification_accuracy(p['model'], p['val_loader']):.3f}")
    print("score:", verification_accuracy(p["model"], p["val_loader"]))
