"""Surface defects (scratch, dent, stain, none) on small grey pictures, CNN with batch norm; bad: BatchNorm2d(track_running_stats=False), so the validation, picture by picture, is normalised by each picture itself; change: the default, running statistics."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

KINDS = ["none", "scratch", "dent", "stain"]


def picture(kind, r):
    img = r.normal(0.5, 0.02, (24, 24))
    yy, xx = np.mgrid[:24, :24]
    cy, cx = r.uniform(6, 18, 2)
    if kind == "scratch":
        a = r.uniform(0, np.pi)
        d = np.abs((xx - cx) * np.sin(a) - (yy - cy) * np.cos(a))
        img -= 0.12 * (d < 0.8)
    elif kind == "dent":
        img -= 0.12 * np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / 6)
    elif kind == "stain":
        img -= 0.12 * np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / 90)
    return img.astype("float32")


class Surfaces(Dataset):
    def __init__(self, n, seed):
        r = np.random.default_rng(seed)
        self.y = r.integers(0, 4, n)
        self.x = np.stack([picture(KINDS[k], r) for k in self.y])[:, None]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return torch.from_numpy((self.x[i] - 0.5) / 0.1), int(self.y[i])


def conv(i, o, **bn):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o, **bn), nn.ReLU(), nn.MaxPool2d(2))


def parts(variant):
    torch.manual_seed(0)
    bn = dict(track_running_stats=False) if variant == "bad" else {}
    model = nn.Sequential(conv(1, 16, **bn), conv(16, 32, **bn), conv(32, 32, **bn), nn.Flatten(), nn.Linear(32 * 9, 4))
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(Surfaces(1600, 0), batch_size=32, shuffle=True, drop_last=True),
                val_loader=DataLoader(Surfaces(300, 1), batch_size=1))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(10):
        model.train()
        run, good, n = 0.0, 0, 0
        for images, labels in p["train_loader"]:
            p["optimizer"].zero_grad()
            out = model(images)
            loss = p["loss_fn"](out, labels)
            loss.backward()
            p["optimizer"].step()
            run += loss.item() * len(labels)
            good += (out.argmax(1) == labels).sum().item()
            n += len(labels)
        model.eval()
        with torch.no_grad():
            val = [(model(x), y) for x, y in p["val_loader"]]
        vloss = np.mean([p["loss_fn"](o, y).item() for o, y in val])
        score = np.mean([(o.argmax(1) == y).item() for o, y in val])
        print(f"Epoch {epoch + 1}: train loss {run / n:.3f} acc {good / n:.3f}  val loss {vloss:.3f} acc {score:.3f}")
    print(f"score: {score:.4f}")
