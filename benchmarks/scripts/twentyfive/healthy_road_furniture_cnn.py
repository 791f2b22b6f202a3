"""Small colour image CNN with NAdam: cones, barrels, diamond signs and bollards on a road. An ordinary sound script: augmentation by horizontal flips in the training set alone, dropout before the last layer, global average pooling."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
CLASSES = ("cone", "barrel", "diamond", "bollard")


def draw(kind, rng, side=18):
    yy, xx = np.mgrid[0:side, 0:side].astype(np.float32)
    image = np.full((3, side, side), 0.4, np.float32) + rng.normal(0, 0.05, (3, 1, 1)).astype(np.float32)
    image += 0.15 * (yy / side)
    cx, cy, r = rng.uniform(6, 12), rng.uniform(7, 11), rng.uniform(3.5, 5.5)
    if kind == 0:
        shape = (np.abs(xx - cx) < (yy - cy + r) * 0.45) & (yy < cy + r) & (yy > cy - r)
    elif kind == 1:
        shape = (np.abs(xx - cx) < 0.7 * r) & (np.abs(yy - cy) < r)
    elif kind == 2:
        shape = np.abs(xx - cx) + np.abs(yy - cy) < r
    else:
        shape = (np.abs(xx - cx) < 0.28 * r) & (np.abs(yy - cy) < r)
    colour = np.array([0.9, rng.uniform(0.35, 0.7), rng.uniform(0.05, 0.3)], np.float32)
    image[:, shape] = colour[:, None]
    return image + rng.normal(0, 0.12, image.shape).astype(np.float32)


class RoadFurniture(Dataset):
    def __init__(self, n, seed, augment):
        rng = np.random.default_rng(seed)
        self.kinds = rng.integers(0, len(CLASSES), n)
        self.images = torch.from_numpy(np.stack([draw(k, rng) for k in self.kinds]).astype(np.float32))
        self.augment = augment

    def __len__(self):
        return len(self.kinds)

    def __getitem__(self, i):
        image = (self.images[i] - 0.45) / 0.25
        if self.augment and torch.rand(()) < 0.5:
            image = image.flip(-1)
        return image, int(self.kinds[i])


class RoadNet(nn.Sequential):
    def __init__(self, width=14):
        super().__init__(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(2 * width, len(CLASSES)))


def parts(variant):
    torch.manual_seed(6)
    model = RoadNet()
    return {"model": model, "optimizer": torch.optim.NAdam(model.parameters(), lr=5e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(RoadFurniture(1500, 61, True), batch_size=50, shuffle=True),
            "val_loader": DataLoader(RoadFurniture(400, 62, False), batch_size=200),
            "metric": lambda logits, y: (logits.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.85


def fit(p, epochs):
    for epoch in range(epochs):
        p["model"].train()
        losses = []
        for images, kinds in p["train_loader"]:
            loss = p["loss_fn"](p["model"](images), kinds)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {np.mean(losses):.3f}")


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    fit(p, epochs=9)
    p["model"].eval()
    with torch.no_grad():
        out = [(p["model"](x), y) for x, y in p["val_loader"]]
    print("score:", p["metric"](torch.cat([a for a, _ in out]), torch.cat([b for _, b in out])))
