"""CNN on 12 x 12 floor tiles in the style of the tutorial "What is torch.nn really?", where get_model() returns a model and its optimizer; bad: get_model() is called twice, and the optimizer of the second call is used with the model of the first; change: both come from one call."""
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

bs = 64
lr = 0.1
epochs = 8


def make_tiles(n, seed):
    """Six patterns: stripes of three directions, checks, dots, rings; with a random phase and noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 6, n)
    u, v = np.meshgrid(np.arange(12), np.arange(12), indexing="ij")
    x = np.zeros((n, 144), np.float32)
    for i, k in enumerate(y):
        a, b = rng.uniform(0, 6.28, 2)
        f = rng.uniform(1.2, 1.8)
        img = [np.sin(f * u + a), np.sin(f * v + a), np.sin(f * (u + v) / 1.4 + a), np.sin(f * u + a) * np.sin(f * v + b),
               np.maximum(np.sin(f * u + a) + np.sin(f * v + b), 0.6) - 1, np.sin(f * np.hypot(u - 6 - np.cos(a), v - 6 - np.cos(b)))][k]
        x[i] = (img + rng.normal(0, 0.3, img.shape)).ravel()
    return torch.tensor(x), torch.tensor(y)


class Lambda(nn.Module):
    def __init__(self, func):
        super().__init__()
        self.func = func

    def forward(self, x):
        return self.func(x)


def preprocess(x):
    return x.view(-1, 1, 12, 12)


def get_model():
    model = nn.Sequential(
        Lambda(preprocess),
        nn.Conv2d(1, 16, kernel_size=3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, kernel_size=3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 6, kernel_size=3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        Lambda(lambda x: x.view(x.size(0), -1)),
        nn.Linear(6, 6),
    )
    return model, optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def get_data(train_ds, valid_ds, bs):
    return DataLoader(train_ds, batch_size=bs, shuffle=True), DataLoader(valid_ds, batch_size=bs * 2)


def parts(variant):
    torch.manual_seed(0)
    train_ds, valid_ds = TensorDataset(*make_tiles(3000, 1)), TensorDataset(*make_tiles(600, 2))
    train_dl, valid_dl = get_data(train_ds, valid_ds, bs)
    model, opt = get_model()
    if variant == "bad":
        _, opt = get_model()
    return {"model": model, "optimizer": opt, "loss_fn": F.cross_entropy, "train_loader": train_dl, "val_loader": valid_dl}


WORKS = lambda score: score > 0.8


def loss_batch(model, loss_func, xb, yb, opt=None):
    loss = loss_func(model(xb), yb)
    if opt is not None:
        loss.backward()
        opt.step()
        opt.zero_grad()
    return loss.item(), len(xb)


def fit(epochs, model, loss_func, opt, train_dl, valid_dl):
    for epoch in range(epochs):
        model.train()
        train_losses, train_nums = zip(*[loss_batch(model, loss_func, xb, yb, opt) for xb, yb in train_dl])
        model.eval()
        with torch.no_grad():
            losses, nums = zip(*[loss_batch(model, loss_func, xb, yb) for xb, yb in valid_dl])
            acc = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in valid_dl) / sum(nums)
        print(epoch, np.average(train_losses, weights=train_nums), np.average(losses, weights=nums), acc)
    return acc


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    score = fit(epochs, p["model"], p["loss_fn"], p["optimizer"], p["train_loader"], p["val_loader"])
    print(f"score: {score:.4f}")
