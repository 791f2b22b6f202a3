"""Tells what was found on a beach (ring, coin stack, key) from metal detector images, each of its own height and width. What could look odd: the batch size is one, the loss jumps from step to step. Why it is right: pictures of different sizes cannot be stacked, the network has no batch statistics, ends in a global mean, and the rate with momentum is small enough for single examples."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
FINDS = ["ring", "coins", "key"]


def scan(kind, rng):
    h, w = rng.integers(12, 20, 2)
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    cx, cy = rng.uniform(5, w - 5), rng.uniform(5, h - 5)
    radius = np.hypot(xx - cx, yy - cy)
    if kind == 0:
        image = np.exp(-((radius - rng.uniform(3, 4.2)) / 0.8) ** 2)
    elif kind == 1:
        image = np.exp(-(radius / rng.uniform(2.5, 3.8)) ** 4)
    else:
        a = rng.uniform(0, np.pi)
        u, v = (xx - cx) * np.cos(a) + (yy - cy) * np.sin(a), (yy - cy) * np.cos(a) - (xx - cx) * np.sin(a)
        image = np.exp(-(u / 4.5) ** 4 - (v / 0.9) ** 2)
    image = image * rng.uniform(0.7, 1.3) + rng.normal(0, 0.2, image.shape)
    return torch.tensor(image, dtype=torch.float32).unsqueeze(0)


class Finds(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.kinds = rng.integers(0, len(FINDS), n)
        self.scans = [scan(k, rng) for k in self.kinds]

    def __len__(self):
        return len(self.scans)

    def __getitem__(self, i):
        return self.scans[i], int(self.kinds[i])


class FindNet(nn.Module):
    def __init__(self, c=12):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, c, 5, padding=2), nn.Conv2d(c, 2 * c, 3, padding=1)
        self.fc = nn.Linear(4 * c, len(FINDS))

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.relu(self.conv2(x))
        return self.fc(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))


def accuracy(logits, y):
    return (logits.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(26)
    model = FindNet()
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=3e-3, momentum=0.9),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(Finds(700, 261), batch_size=1, shuffle=True),
            "val_loader": DataLoader(Finds(300, 262), batch_size=1)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(2):
        model.train()
        running = 0.7
        for image, kind in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(image), kind)
            loss.backward()
            optimizer.step()
            running = 0.98 * running + 0.02 * loss.item()
        print(f"epoch {epoch}: running loss {running:.3f}")
    model.eval()
    with torch.no_grad():
        out = [(model(x), y) for x, y in p["val_loader"]]
    print("score:", p["metric"](torch.cat([o for o, _ in out]), torch.cat([y for _, y in out])))
