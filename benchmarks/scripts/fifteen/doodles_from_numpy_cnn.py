"""CNN of the PyTorch beginners' tutorial on doodles that lie in a .npy array; bad: torch.from_numpy(...).float() takes the place of ToTensor and Normalize, so that pixels run from 0 to 255, with the tutorial's SGD; change: they are divided by 255 and shifted to -1 .. 1."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

classes = ("circle", "zigzag", "spiral", "star", "house")


def polyline(kind, rng):
    t = np.linspace(0, 1, 90)
    if kind == 0:
        pts = np.stack([np.cos(2 * np.pi * t), np.sin(2 * np.pi * t)], 1)
    elif kind == 1:
        pts = np.stack([2 * t - 1, 0.8 * (2 * np.abs((4 * t) % 2 - 1) - 1)], 1)
    elif kind == 2:
        pts = np.stack([t * np.cos(5 * np.pi * t), t * np.sin(5 * np.pi * t)], 1)
    else:
        k = np.arange(6) * 4 * np.pi / 5
        corners = np.stack([np.sin(k), -np.cos(k)], 1) if kind == 3 else np.array(
            [[-0.8, 0], [-0.8, 1], [0.8, 1], [0.8, 0], [-0.8, 0], [0, -1], [0.8, 0]], float)
        s = t * (len(corners) - 1)
        pts = np.stack([np.interp(s, np.arange(len(corners)), corners[:, d]) for d in (0, 1)], 1)
    a = rng.uniform(-0.4, 0.4)
    rot = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return pts @ rot.T * rng.uniform(6, 9) + 11.5 + rng.uniform(-2, 2, 2) + rng.normal(0, 0.2, pts.shape)


def load_bitmaps(n, seed):
    """Like the published bitmaps: uint8, one flat row for each drawing."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, len(classes), n)
    bitmaps = np.zeros((n, 24, 24), np.uint8)
    for i, k in enumerate(label):
        p = np.clip(np.round(polyline(k, rng)).astype(int), 0, 23)
        bitmaps[i, p[:, 1], p[:, 0]] = 255
    return bitmaps.reshape(n, -1), label


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 3 * 3, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, len(classes))

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def as_dataset(bitmaps, label, variant):
    images = torch.from_numpy(bitmaps.reshape(-1, 1, 24, 24)).float()
    if variant != "bad":
        images = (images / 255 - 0.5) / 0.5
    return TensorDataset(images, torch.from_numpy(label))


def parts(variant):
    torch.manual_seed(0)
    net = Net()
    return {"model": net, "loss_fn": nn.CrossEntropyLoss(), "optimizer": optim.SGD(net.parameters(), lr=0.01, momentum=0.9),
            "train_loader": DataLoader(as_dataset(*load_bitmaps(3000, 1), variant), batch_size=16, shuffle=True),
            "val_loader": DataLoader(as_dataset(*load_bitmaps(500, 2), variant), batch_size=100, shuffle=False)}


WORKS = lambda score: score > 85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(6):
        running_loss = 0.0
        for i, data in enumerate(p["train_loader"], 0):
            inputs, labels = data
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        print(f"[{epoch + 1}] loss: {running_loss / (i + 1):.3f}")
    print("Finished Training")
    correct = total = 0
    with torch.no_grad():
        for images, labels in p["val_loader"]:
            _, predicted = torch.max(net(images), 1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    score = 100 * correct / total
    print(f"score: {score:.4f}")
