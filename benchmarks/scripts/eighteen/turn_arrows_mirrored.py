"""CNN that reads painted road arrows (left, right, straight, left-or-straight, right-or-straight); the augmentation mirrors the pictures, which turns left into right while the label stays. change: small shifts instead of mirroring."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

CLASSES = ["left", "right", "straight", "left_straight", "right_straight"]


def paint(kind):
    a = torch.zeros(24, 24)
    a[10:22, 11:13] = 1
    if "straight" in kind:
        a[3:11, 11:13] = 1
        for k in range(4):
            a[3 + k, 11 - k:13 + k] = 1
    if "left" in kind or "right" in kind:
        a[10:12, 4:12] = 1
        for k in range(4):
            a[10 - k:12 + k, 4 + k] = 1
    return a.flip(1) if "right" in kind else a


class RoadArrows(Dataset):
    def __init__(self, n, seed, augment=None):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, 5, (n,), generator=g)
        plain = torch.stack([paint(c) for c in CLASSES])[self.y]
        worn = plain * (torch.rand(n, 24, 24, generator=g) > 0.3)
        self.x = (worn + 0.5 * torch.randn(n, 24, 24, generator=g)).unsqueeze(1)
        self.augment = augment

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = self.x[i]
        if self.augment is not None:
            x = self.augment(x)
        return x, self.y[i]


def random_flip(x, p=0.5):
    return x.flip(-1) if torch.rand(1).item() < p else x


def random_shift(x, by=2):
    dr, dc = torch.randint(-by, by + 1, (2,)).tolist()
    return x.roll((dr, dc), dims=(-2, -1))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Dropout(0.2), nn.Linear(32 * 36, 5))
    augment = random_flip if variant == "bad" else random_shift
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(RoadArrows(1500, 1, augment), batch_size=32, shuffle=True),
            "val_loader": DataLoader(RoadArrows(400, 2), batch_size=100)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, ce = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        model.train()
        run = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = ce(model(x), y)
            loss.backward()
            opt.step()
            run += loss.item()
        print(f"epoch {epoch} train loss {run / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        good = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
    print(f"score: {good / 400:.4f}")
