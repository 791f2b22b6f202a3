"""CNN with global pooling tells unripe green, half-ripe purple and ripe red chilies from small photos taken by a harvesting arm (height, width, channel as the camera gives them). The array is brought to channels first with reshape, which slices the pixels anew instead of turning the axes, so that colours end up as a stripe pattern; the right change: images.transpose(0, 3, 1, 2)."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIDE = 32
COLOURS = np.array([[0.25, 0.80, 0.20], [0.20, 0.25, 0.80], [0.80, 0.20, 0.25]])   # green, purple, red


def photograph(n, rng):
    yy, xx = np.mgrid[0:SIDE, 0:SIDE].astype(float)
    images = np.empty((n, SIDE, SIDE, 3))
    stage = rng.integers(0, 3, n)
    for i in range(n):
        grey = rng.uniform(0.25, 0.6) + 0.1 * np.sin(xx / rng.uniform(3, 9) + yy / rng.uniform(3, 9))
        img = np.repeat(grey[:, :, None], 3, axis=2)
        for _ in range(rng.integers(1, 4)):
            cx, cy, angle = rng.uniform(7, 25), rng.uniform(7, 25), rng.uniform(0, np.pi)
            u = (xx - cx) * np.cos(angle) + (yy - cy) * np.sin(angle)
            v = -(xx - cx) * np.sin(angle) + (yy - cy) * np.cos(angle) + 0.02 * u ** 2
            pod = np.clip(1.5 - (u / rng.uniform(5, 9)) ** 2 - (v / rng.uniform(1.8, 3)) ** 2, 0, 1)[:, :, None]
            tone = np.clip(COLOURS[stage[i]] + rng.normal(0, 0.12, 3), 0, 1) * rng.uniform(0.5, 1.1)
            img = img * (1 - pod) + tone * pod
        images[i] = img + rng.normal(0, 0.06, img.shape)
    return (np.clip(images, 0, 1) * 255).astype(np.uint8), stage


class ChiliPhotos(Dataset):
    def __init__(self, images, stage, turn_axes):
        n = len(images)
        if turn_axes:
            pixels = images.transpose(0, 3, 1, 2)
        else:
            pixels = images.reshape(n, 3, SIDE, SIDE)
        self.pixels = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1.0)
        self.stage = torch.from_numpy(stage)

    def __len__(self):
        return len(self.stage)

    def __getitem__(self, i):
        return self.pixels[i], self.stage[i]


def conv(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2))


def build_model():
    return nn.Sequential(conv(3, 12), conv(12, 24), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 3))


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def parts(variant):
    torch.manual_seed(10)
    rng = np.random.default_rng(10)
    turn = variant != "bad"
    train = ChiliPhotos(*photograph(1500, rng), turn_axes=turn)
    val = ChiliPhotos(*photograph(500, rng), turn_axes=turn)
    model = build_model()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(train, batch_size=50, shuffle=True),
            "val_loader": DataLoader(val, batch_size=250)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    sched = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.6)
    for epoch in range(5):
        model.train()
        for images, stage in p["train_loader"]:
            loss = p["loss_fn"](model(images), stage)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        sched.step()
        model.eval()
        with torch.no_grad():
            out = torch.cat([model(x) for x, _ in p["val_loader"]])
        score = p["metric"](out, torch.cat([y for _, y in p["val_loader"]]))
        print(f"epoch {epoch + 1}: last loss {loss.item():.3f}, accuracy {score:.3f}")
    print("score:", score)
