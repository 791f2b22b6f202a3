"""Sound CNN on tangram pieces: forward ends in log_softmax and the loss is CrossEntropyLoss; the second log_softmax changes nothing, so it is the usual loss."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def polygon_mask(points, size):
    yy, xx = np.mgrid[0:size, 0:size] / (size / 2) - 1
    inside = np.ones((size, size), bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0)):
        inside &= (x1 - x0) * (yy - y0) - (y1 - y0) * (xx - x0) >= 0
    return inside


SHAPES = {
    "triangle": [(-0.7, -0.4), (0.7, -0.4), (0.0, 0.5)],
    "square": [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)],
    "parallelogram": [(-0.8, -0.3), (0.3, -0.3), (0.8, 0.3), (-0.3, 0.3)],
    "bar": [(-0.8, -0.15), (0.8, -0.15), (0.8, 0.15), (-0.8, 0.15)],
    "hexagon": [(np.cos(a) * 0.6, np.sin(a) * 0.6) for a in np.arange(6) * np.pi / 3],
}


def make(n, rng, size=20):
    names = list(SHAPES)
    y = rng.integers(0, len(names), n)
    X = np.empty((n, 1, size, size), np.float32)
    for i in range(n):
        pts = np.array(SHAPES[names[y[i]]]) * rng.uniform(0.7, 1.1)
        a = rng.uniform(0, 2 * np.pi)
        pts = pts @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]]) + rng.uniform(-0.15, 0.15, 2)
        X[i, 0] = polygon_mask(pts, size) * rng.uniform(0.6, 1.0)
    X += 0.08 * rng.standard_normal(X.shape)
    return torch.tensor(X, dtype=torch.float32), torch.tensor(y)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3)
        self.conv2 = nn.Conv2d(16, 32, 3)
        self.drop = nn.Dropout(0.25)
        self.fc1 = nn.Linear(32 * 8 * 8, 64)
        self.fc2 = nn.Linear(64, 5)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.max_pool2d(x, 2)
        x = self.drop(torch.flatten(x, 1))
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc2(x), dim=1)


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(31)
    train, val = TensorDataset(*make(4000, rng)), TensorDataset(*make(400, rng))
    model = Net()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True), "val_loader": DataLoader(val, batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = []
        for data, target in p["train_loader"]:
            p["optimizer"].zero_grad()
            output = model(data)
            loss = p["loss_fn"](output, target)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            correct = sum((model(d).argmax(1) == t).sum().item() for d, t in p["val_loader"])
        score = correct / len(p["val_loader"].dataset)
        print(f"Train Epoch: {epoch}  Loss: {np.mean(losses):.4f}  Val accuracy: {score:.4f}")
    print(f"score: {score:.4f}")
