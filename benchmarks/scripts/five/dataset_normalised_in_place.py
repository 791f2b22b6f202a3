"""Small residual CNN on two-channel digit pictures; mistake: __getitem__ subtracts and divides in place on a view of the stored array, so every epoch normalises the data once more; change: it works on a copy."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

WORKS = lambda s: s > 0.9


def load(split):
    d = load_digits()
    gray = d.images.astype(np.float32) / 16
    edge = np.abs(np.diff(gray, axis=2, append=0)).astype(np.float32)
    x = np.stack([gray, edge], 1)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    idx = order[:1200] if split == "train" else order[1200:]
    return x[idx], d.target[idx]


class DigitDataset(Dataset):
    def __init__(self, split, mean, std, copy=True):
        self.x, self.y = load(split)
        self.mean = np.asarray(mean, np.float32)[:, None, None]
        self.std = np.asarray(std, np.float32)[:, None, None]
        self.copy = copy

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        img = self.x[index].copy() if self.copy else self.x[index]
        img -= self.mean
        img /= self.std
        return torch.from_numpy(img).clone(), int(self.y[index])


class Residual(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1))

    def forward(self, x):
        return torch.relu(x + self.f(x))


def make_model():
    return nn.Sequential(nn.Conv2d(2, 24, 3, padding=1), nn.ReLU(), Residual(24), nn.MaxPool2d(2),
                         Residual(24), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 10))


def parts(variant="fixed"):
    torch.manual_seed(3)
    x, _ = load("train")
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3))
    copy = variant != "bad"
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return {"model": model, "optimizer": optimizer,
            "train_loader": DataLoader(DigitDataset("train", mean, std, copy), batch_size=50, shuffle=True),
            "val_loader": DataLoader(DigitDataset("val", mean, std, copy), batch_size=100),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


def fresh_test_accuracy(model):
    """on pictures normalised once"""
    xt, _ = load("train")
    xv, yv = load("val")
    m, s = xt.mean((0, 2, 3), keepdims=True), xt.std((0, 2, 3), keepdims=True)
    model.eval()
    with torch.no_grad():
        out = model(torch.from_numpy((xv - m) / s))
    return (out.argmax(1).numpy() == yv).mean()


def train(variant, epochs=14):
    p = parts(variant)
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(epochs):
        model.train()
        losses = []
        for img, label in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(img), label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](model(a), b).item() for a, b in p["val_loader"]])
        print(f"epoch {epoch + 1:2d}  train loss {np.mean(losses):.3f}  val acc {acc:.3f}")
    print(f"score: {fresh_test_accuracy(model):.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(sys.argv[1] if len(sys.argv) > 1 else "fixed")
