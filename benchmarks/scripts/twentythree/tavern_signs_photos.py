"""Classifier of tavern signs from 160 photos with a network that is far too large for them and no augmentation: it learns the photos by heart (training accuracy 1) and is poor on new ones; the right change: augment the training photos (random shifts and mirrored copies), which the new photos have, too."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE = 28


def draw(kind, rng):
    yy, xx = np.mgrid[:SIZE, :SIZE]
    cy, cx = rng.uniform(8, 20, 2)
    s = rng.uniform(4.5, 6.5)
    dy, dx = yy - cy, xx - cx
    r = np.hypot(dy, dx)
    if kind == 0:      # barrel hoop
        m = np.abs(r - s) < 1.3
    elif kind == 1:    # full moon
        m = r < s * 0.85
    elif kind == 2:    # crossed keys
        m = (np.minimum(np.abs(dy - dx), np.abs(dy + dx)) < 1.8) & (r < s * 1.2)
    elif kind == 3:    # cross
        m = (np.minimum(np.abs(dy), np.abs(dx)) < 1.3) & (r < s * 1.2)
    else:              # chest
        m = (np.maximum(np.abs(dy), np.abs(dx)) < s) & (np.maximum(np.abs(dy), np.abs(dx)) > s - 2.3)
    img = m * rng.uniform(0.6, 1.0) + rng.normal(0, 0.12, (SIZE, SIZE))
    return img.astype(np.float32)


class Signs(Dataset):
    def __init__(self, n, seed, augment=False):
        rng = np.random.default_rng(seed)
        self.y = np.arange(n) % 5
        self.x = torch.tensor(np.stack([draw(k, rng) for k in self.y]))[:, None]
        self.augment = augment

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        img = self.x[i]
        if self.augment:
            dy, dx = torch.randint(-6, 7, (2,)).tolist()
            img = torch.roll(img, (dy, dx), (1, 2))
            if torch.rand(1).item() < 0.5:
                img = img.flip(2)
            if torch.rand(1).item() < 0.5:
                img = img.flip(1)
        return img, int(self.y[i])


def make_net():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 14 * 14, 128), nn.ReLU(),
        nn.Linear(128, 5))


def parts(variant):
    torch.manual_seed(0)
    net = make_net()
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Signs(160, 0, augment=variant != "bad"), batch_size=32, shuffle=True),
            "val_loader": DataLoader(Signs(400, 1), batch_size=200)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    history = []
    for epoch in range(50):
        net.train()
        train_ok = 0
        for x, y in p["train_loader"]:
            out = net(x)
            loss = p["loss_fn"](out, y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            train_ok += (out.argmax(1) == y).sum().item()
        if epoch % 5 == 4:
            net.eval()
            with torch.no_grad():
                acc = np.mean([(net(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]])
            history.append(acc)
            print(f"epoch {epoch + 1}: train acc {train_ok / 160:.3f}, val acc {acc:.3f}")
    print("score:", np.mean(history[-4:]))
