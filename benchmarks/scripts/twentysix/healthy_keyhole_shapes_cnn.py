"""Sound: a small CNN tells four kinds of keyhole (round with wedge, round with slot, cross, letter slit) in 24 x 24 photographs. Nothing odd: batch norm, AdamW, one cycle per batch over exactly the number of steps trained."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE, EPOCHS = 24, 6


class Keyholes(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 4, n)
        self.images = np.stack([self.draw(k, rng) for k in self.labels]).astype(np.float32)

    @staticmethod
    def draw(kind, rng):
        yy, xx = np.mgrid[0:SIZE, 0:SIZE].astype(float)
        cx, cy = SIZE / 2 + rng.uniform(-3, 3, 2)
        tilt = rng.normal(0, 0.12)
        u = (xx - cx) * np.cos(tilt) + (yy - cy) * np.sin(tilt)
        v = -(xx - cx) * np.sin(tilt) + (yy - cy) * np.cos(tilt)
        r = rng.uniform(2.5, 4.0)
        disc = u ** 2 + (v + 2) ** 2 < r ** 2
        if kind == 0:
            hole = disc | ((v > -2) & (v < 7) & (np.abs(u) < 0.8 + 0.4 * (v + 2)))
        elif kind == 1:
            hole = disc | ((v > -2) & (v < 7) & (np.abs(u) < 1.2))
        elif kind == 2:
            hole = ((np.abs(u) < 1.4) & (np.abs(v) < 6)) | ((np.abs(v) < 1.4) & (np.abs(u) < 5))
        else:
            hole = (np.abs(u) < rng.uniform(4.5, 7)) & (np.abs(v) < rng.uniform(1.2, 2.2))
        plate = rng.uniform(0.5, 0.9) + 0.1 * rng.normal() * (xx / SIZE - 0.5)
        return np.clip(np.where(hole, rng.uniform(0.05, 0.3), plate) + rng.normal(0, 0.1, (SIZE, SIZE)), 0, 1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return (torch.from_numpy(self.images[i])[None] - 0.6) / 0.25, int(self.labels[i])


def conv(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2))


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean()


def parts(variant):
    torch.manual_seed(3)
    model = nn.Sequential(conv(1, 12), conv(12, 24), conv(24, 48), nn.Flatten(), nn.Dropout(0.2), nn.Linear(48 * 9, 4))
    train = DataLoader(Keyholes(2000, 1), batch_size=50, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=EPOCHS * len(train))
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(), "train_loader": train,
            "val_loader": DataLoader(Keyholes(500, 2), batch_size=250), "metric": accuracy, "scheduler": scheduler}


WORKS = lambda score: score > 0.92

if __name__ == "__main__":
    p = parts("fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(EPOCHS):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            score = np.mean([p["metric"](model(x), y).item() for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {loss.item():.3f}, accuracy {score:.3f}")
    print("score:", score)
