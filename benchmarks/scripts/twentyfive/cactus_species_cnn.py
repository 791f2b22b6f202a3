"""CNN trained with Adam on drawings of sixteen cactus species (ribs, arms, areoles, crown). The forward ends in a softmax, and the cross entropy loss takes a softmax of these probabilities again; the right change: return the logits."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SPECIES, SIZE = 16, 20


def draw_cactus(species, rng):
    """Bits of the species: ribs wide or narrow, slim or broad, crowned or not, arms or none."""
    wide, broad, crown, arms = (species >> 0) & 1, (species >> 1) & 1, (species >> 2) & 1, (species >> 3) & 1
    yy, xx = np.mgrid[:SIZE, :SIZE]
    cx, top = 9.5 + rng.normal(0, 0.8), 4 + rng.integers(0, 3)
    half = (4.2 if broad else 2.6) + rng.normal(0, 0.25)
    body = (np.abs(xx - cx) < half) & (yy >= top)
    ribs = 0.5 + 0.35 * np.sin(2 * np.pi * (xx - cx) / (4.0 if wide else 2.2) + rng.uniform(0, 6))
    img = np.stack([0.3 * body * ribs, body * ribs, 0.2 * body * ribs])
    if arms:
        row = rng.integers(9, 14)
        img[1, row:row + 2, :] += 0.5 * (np.abs(xx[row:row + 2] - cx) < half + 4)
    if crown:
        img[0] += 0.9 * ((yy - top) ** 2 + (xx - cx) ** 2 < 4)
    return img + rng.normal(0, 0.16, img.shape) + rng.uniform(0, 0.3)


def herbarium(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, SPECIES, n)
    images = np.stack([draw_cactus(int(s), rng) for s in labels])
    return TensorDataset(torch.tensor(images, dtype=torch.float32), torch.tensor(labels))


class CactusNet(nn.Module):
    def __init__(self, probabilities):
        super().__init__()
        self.probabilities = probabilities
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.fc1 = nn.Linear(24 * 5 * 5, 64)
        self.fc2 = nn.Linear(64, SPECIES)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        x = self.fc2(x)
        return F.softmax(x, dim=1) if self.probabilities else x


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def parts(variant):
    torch.manual_seed(16)
    model = CactusNet(probabilities=variant == "bad")
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(herbarium(2400, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(herbarium(600, 2), batch_size=200)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, optimizer = p["model"], p["optimizer"]
    for epoch in range(6):
        net.train()
        for images, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](net(images), labels)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            score = float(np.mean([p["metric"](net(x), y) for x, y in p["val_loader"]]))
        print(f"[{epoch + 1}] loss {loss.item():.3f} accuracy {score:.3f}")
    print("score:", score)
