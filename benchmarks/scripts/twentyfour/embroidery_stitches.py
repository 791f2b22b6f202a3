"""MLP on pooled images of six embroidery stitches, trained by LBFGS on the whole set. zero_grad stands before optimizer.step(closure) and not in the closure, which LBFGS calls many times in one step, so the gradients of all calls add up, the curvature estimates are wrong and the loss jumps or stands; the right change: zero_grad as the first line of the closure."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
STITCHES = ["cross", "stem", "chain", "satin", "french knot", "herringbone"]


def draw(kind, rng):
    yy, xx = np.mgrid[:20, :20].astype(float)
    u, v = xx + rng.uniform(0, 5), yy + rng.uniform(-2, 2)
    if kind == 0:
        img = (np.abs((u - v) % 5 - 2.5) < 0.8) | (np.abs((u + v) % 5 - 2.5) < 0.8)
    elif kind == 1:
        img = np.abs((u + 0.5 * v) % 6 - 3) < 1.0
    elif kind == 2:
        img = np.abs(np.hypot(u % 7 - 3.5, v - 10) - 2.8) < 1.0
    elif kind == 3:
        img = (v % 3 < 1.3) & (np.abs(yy - 10) < 8)
    elif kind == 4:
        img = np.hypot(u % 6 - 3, v % 6 - 3) < 1.6
    else:
        img = np.abs(v - 10 - 5 * np.sin(u * 0.9)) < 1.4
    return img * rng.uniform(0.6, 1.0) + rng.normal(0, 0.35, img.shape)


def samples(n, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(STITCHES), n)
    x = np.stack([draw(k, rng) for k in y]).reshape(n, -1)
    spectrum = np.abs(np.fft.rfft2(x.reshape(n, 20, 20)))[:, :10, :10].reshape(n, -1)
    return TensorDataset(torch.tensor(np.log1p(spectrum) - 2.0, dtype=torch.float32), torch.tensor(y))


class StitchMLP(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(100, 32), nn.Tanh(), nn.Linear(32, len(STITCHES)))


criterion = nn.CrossEntropyLoss()


class LBFGSStep:
    def __init__(self, zero_inside):
        self.zero_inside = zero_inside

    def __call__(self, model, batch, optimizer):
        x, y = batch

        def closure():
            if self.zero_inside:
                optimizer.zero_grad()
            loss = criterion(model(x), y) + 1e-4 * sum(p.pow(2).sum() for p in model.parameters())
            loss.backward()
            return loss

        optimizer.zero_grad()
        return optimizer.step(closure)


def parts(variant, seed=0):
    torch.manual_seed(seed)
    model = StitchMLP()
    train = samples(1200, 30)
    return {"model": model,
            "optimizer": torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=20, history_size=10),
            "step": LBFGSStep(zero_inside=variant != "bad"),
            "train_loader": DataLoader(train, batch_size=len(train)),
            "val_loader": DataLoader(samples(400, 31), batch_size=400),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    model = p["model"]
    for it in range(25):
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, p["optimizer"])
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            acc = p["metric"](model(x), y)
        if it % 3 == 0:
            print(f"step {it}: loss {float(loss):.4f} val acc {acc:.3f}")
    print("score:", acc)
