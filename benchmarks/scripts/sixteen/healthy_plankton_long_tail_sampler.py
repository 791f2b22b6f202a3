"""Plankton outlines in eight classes with a long tail (700 to 25 pictures), the archive sorted by class; WeightedRandomSampler with one weight per picture, augmentation by turns; balanced validation; sound; change: none."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

COUNTS = [700, 420, 260, 160, 100, 60, 40, 25]


def outline(k, r):
    th = np.arctan2(*np.mgrid[-12:12, -12:12] + 0.5) + r.uniform(0, 2 * np.pi)
    rad = np.hypot(*(np.mgrid[-12:12, -12:12] + 0.5 - r.normal(0, 0.8, (2, 1, 1))))
    size = r.uniform(6.5, 8.5)
    arms = [0, 2, 3, 4, 5, 6, 0, 2][k]
    depth = [0, 0.3, 0.35, 0.35, 0.35, 0.3, 0, 0.3][k]
    edge = size * (1 + depth * np.cos(arms * th)) / (1 + depth)
    img = 1 / (1 + np.exp(2 * (rad - edge)))
    if k >= 6:
        img *= 1 - 0.9 * np.exp(-(rad / 3) ** 2)
    return (img * r.uniform(0.6, 1) + r.normal(0, 0.06, img.shape)).astype("float32")


class Plankton(Dataset):
    def __init__(self, counts, seed, augment):
        r = np.random.default_rng(seed)
        self.labels = np.repeat(np.arange(8), counts)
        self.images = np.stack([outline(k, r) for k in self.labels])
        self.augment = augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        x = torch.from_numpy(self.images[i])[None]
        if self.augment:
            x = torch.rot90(x, int(torch.randint(4, ())), (1, 2))
            if torch.rand(()) < 0.5:
                x = x.flip(2)
        return (x - 0.25) / 0.35, int(self.labels[i])


class PlanktonNet(nn.Module):
    def __init__(self):
        super().__init__()
        c = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(4, o), nn.ReLU(), nn.MaxPool2d(2))
        self.f = nn.Sequential(c(1, 16), c(16, 32), c(32, 48))
        self.g = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(48 * 9, 64), nn.ReLU(), nn.Linear(64, 8))

    def forward(self, x):
        return self.g(self.f(x))


def parts(variant):
    torch.manual_seed(0)
    train = Plankton(COUNTS, 0, True)
    per_class = 1.0 / np.bincount(train.labels)
    sampler = WeightedRandomSampler(torch.tensor(per_class[train.labels]), num_samples=len(train), replacement=True)
    model = PlanktonNet()
    opt = torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=1e-2)
    return dict(model=model, optimizer=opt, loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(train, batch_size=48, sampler=sampler),
                val_loader=DataLoader(Plankton([30] * 8, 1, False), batch_size=60))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        hist = []
        for img, lab in p["train_loader"]:
            opt.zero_grad()
            loss = crit(model(img), lab)
            loss.backward()
            opt.step()
            hist.append(loss.item())
        print(f"epoch {epoch + 1}: loss {np.mean(hist):.4f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
    print(f"score: {score:.4f}")
