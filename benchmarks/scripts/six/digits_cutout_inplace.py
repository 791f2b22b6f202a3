"""Small CNN on digits with cutout; the cutout writes into the stored picture, so the holes stay and add up from epoch to epoch; change: clone the picture first."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

WORKS = lambda acc: acc > 0.9
EPOCHS = 40


class Cutout:
    def __init__(self, size=3, copy=True):
        self.size, self.copy = size, copy

    def __call__(self, img):
        _, h, w = img.shape
        top = int(torch.randint(0, h - self.size + 1, (1,)))
        left = int(torch.randint(0, w - self.size + 1, (1,)))
        if self.copy:
            img = img.clone()
        img[:, top:top + self.size, left:left + self.size] = 0.0
        return img


class Digits(Dataset):
    def __init__(self, images, labels, transform=None):
        self.images = torch.from_numpy(images.astype(np.float32)).unsqueeze(1) / 16.0
        self.labels = torch.from_numpy(labels)
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, idx):
        img = self.images[idx]
        if self.transform:
            img = self.transform(img)
        return img, self.labels[idx]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.fc1 = nn.Linear(24 * 16, 48)
        self.fc2 = nn.Linear(48, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def parts(variant="fixed"):
    torch.manual_seed(1)
    data = load_digits()
    order = np.random.RandomState(0).permutation(len(data.target))
    tr, te = order[:1300], order[1300:]
    train_set = Digits(data.images[tr], data.target[tr], Cutout(copy=(variant != "bad")))
    test_set = Digits(data.images[te], data.target[te])
    net = Net()
    return {
        "model": net,
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4),
        "train_loader": DataLoader(train_set, batch_size=32, shuffle=True),
        "val_loader": DataLoader(test_set, batch_size=500),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


def test(net, loader):
    net.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (net(x).argmax(1) == y).sum().item()
    return correct / len(loader.dataset)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(EPOCHS):
        net.train()
        running_loss = 0.0
        for inputs, labels in p["train_loader"]:
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        if epoch % 4 == 3:
            print(f"[{epoch + 1}] loss: {running_loss / len(p['train_loader']):.3f} test: {test(net, p['val_loader']):.3f}")
    print("score:", round(test(net, p["val_loader"]), 4))
