"""Twelve star patterns as small pictures, a CNN; bad: NLLLoss is given the raw scores of the last linear layer, so the loss goes below zero without end while no class has to beat another; change: F.log_softmax at the end of forward."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

N_CLASS = 12


def sky(n, seed):
    shape_rng = np.random.default_rng(99)
    stars = shape_rng.uniform(-8, 8, (N_CLASS, 6, 2))
    mag = shape_rng.uniform(0.4, 1.0, (N_CLASS, 6))
    rng = np.random.default_rng(seed)
    y = rng.integers(0, N_CLASS, n)
    yy, xx = np.mgrid[:28, :28]
    img = np.zeros((n, 28, 28), dtype="float32")
    for i, k in enumerate(y):
        a = rng.normal(0, 0.25)
        R = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        pts = stars[k] @ R.T + 14 + rng.normal(0, 1.0, 2)
        for (px, py), m in zip(pts, mag[k]):
            img[i] += m * np.exp(-((xx - px) ** 2 + (yy - py) ** 2) / 1.5)
        for _ in range(3):
            px, py = rng.uniform(0, 28, 2)
            img[i] += rng.uniform(0.2, 0.5) * np.exp(-((xx - px) ** 2 + (yy - py) ** 2) / 1.5)
    img += rng.normal(0, 0.05, img.shape)
    return torch.from_numpy(img[:, None]).float(), torch.from_numpy(y)


class Net(nn.Module):
    def __init__(self, variant):
        super().__init__()
        self.variant = variant
        self.conv1 = nn.Conv2d(1, 12, 5)
        self.conv2 = nn.Conv2d(12, 24, 5)
        self.fc1 = nn.Linear(24 * 16, 64)
        self.fc2 = nn.Linear(64, N_CLASS)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.fc1(x.flatten(1)))
        x = self.fc2(x)
        if self.variant == "bad":
            return x
        return F.log_softmax(x, dim=1)


def parts(variant):
    torch.manual_seed(0)
    net = Net(variant)
    return dict(model=net, optimizer=torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9), loss_fn=nn.NLLLoss(),
                train_loader=DataLoader(TensorDataset(*sky(3000, 0)), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*sky(500, 1)), batch_size=250))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 13):
        net.train()
        acc_loss = 0.0
        for batch_idx, (data, target) in enumerate(p["train_loader"]):
            optimizer.zero_grad()
            output = net(data)
            loss = p["loss_fn"](output, target)
            loss.backward()
            optimizer.step()
            acc_loss += loss.item()
        print(f"Train Epoch: {epoch}\tLoss: {acc_loss / (batch_idx + 1):.6g}")
    net.eval()
    correct = 0
    with torch.no_grad():
        for data, target in p["val_loader"]:
            correct += net(data).argmax(dim=1).eq(target).sum().item()
    score = correct / len(p["val_loader"].dataset)
    print(f"score: {score:.4f}")
