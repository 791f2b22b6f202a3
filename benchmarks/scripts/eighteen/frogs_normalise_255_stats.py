"""CNN that tells eight kinds of frogs apart; the images are already scaled to [0, 1] when they are normalised by mean and std that were measured on 0 … 255, so every picture becomes nearly the same constant. change: the statistics are divided by 255 as well."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader

MEAN = np.array([101.0, 118.0, 74.0], dtype="float32")
STD = np.array([52.0, 49.0, 44.0], dtype="float32")


def make_photos(n, seed):
    rng = np.random.default_rng(seed)
    rr, cc = np.mgrid[0:24, 0:24]
    labels = rng.integers(0, 8, n)
    photos = np.empty((n, 24, 24, 3), dtype="uint8")
    for i, k in enumerate(labels):
        angle, freq = np.pi * (k % 4) / 4, 0.5 if k < 4 else 1.0
        wave = np.sin(freq * (rr * np.sin(angle) + cc * np.cos(angle)) + rng.uniform(0, 6.28))
        base = MEAN + rng.normal(0, 25, 3)
        img = base + 35 * wave[..., None] + rng.normal(0, 20, (24, 24, 3))
        photos[i] = img.clip(0, 255)
    return photos, labels


class FrogDataset(Dataset):
    def __init__(self, n, seed, mean, std):
        self.photos, self.labels = make_photos(n, seed)
        self.mean = torch.tensor(mean).view(3, 1, 1)
        self.std = torch.tensor(std).view(3, 1, 1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        img = torch.from_numpy(self.photos[i]).permute(2, 0, 1).float() / 255
        return (img - self.mean) / self.std, int(self.labels[i])


def parts(variant):
    torch.manual_seed(0)
    mean, std = (MEAN, STD) if variant == "bad" else (MEAN / 255, STD / 255)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 36, 64), nn.ReLU(), nn.Linear(64, 8))
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(FrogDataset(1600, 1, mean, std), batch_size=32, shuffle=True),
            "val_loader": DataLoader(FrogDataset(400, 2, mean, std), batch_size=100)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        net.train()
        seen = loss_sum = 0
        for img, label in p["train_loader"]:
            loss = p["loss_fn"](net(img), label)
            opt.zero_grad()
            loss.backward()
            opt.step()
            loss_sum += loss.item() * len(label)
            seen += len(label)
        print("epoch", epoch, "loss", round(loss_sum / seen, 4))
    net.eval()
    with torch.no_grad():
        right = [(net(img).argmax(1) == label).float() for img, label in p["val_loader"]]
    print(f"score: {torch.cat(right).mean().item():.4f}")
