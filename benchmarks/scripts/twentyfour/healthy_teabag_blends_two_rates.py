"""Names tea blends by near-infrared scans. Looks odd, is sound: the first layer is a frozen random projection (cosine features), the body learns by Adam at 1e-3 and the head by plain SGD at 0.5, the class scores are cosines divided by a temperature of 0.1, and the smoothed labels keep the loss well above nothing. There is no mistake and nothing to change; the variant is ignored."""
import math
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
BLENDS, BANDS = 8, 50


def scans(n, seed):
    recipe_rng, rng = np.random.default_rng(2024), np.random.default_rng(seed)
    leaves = np.cumsum(recipe_rng.normal(0, 0.35, (5, BANDS)), axis=1)
    recipes = recipe_rng.dirichlet(np.ones(5) * 0.8, BLENDS)
    y = rng.integers(0, BLENDS, n)
    share = np.abs(recipes[y] + rng.normal(0, 0.04, (n, 5)))
    x = np.tanh(share @ leaves) + rng.normal(0, 0.05, (n, BANDS))
    return x.astype(np.float32), y


class RandomCosines(nn.Module):
    def __init__(self, n_in, n_out, width=4.0):
        super().__init__()
        self.w = nn.Parameter(torch.randn(n_in, n_out) / width, requires_grad=False)
        self.b = nn.Parameter(torch.rand(n_out) * 2 * math.pi, requires_grad=False)

    def forward(self, x):
        return math.sqrt(2) * torch.cos(x @ self.w + self.b)


class CosineHead(nn.Module):
    def __init__(self, dim, classes, temperature=0.1):
        super().__init__()
        self.anchors = nn.Parameter(torch.randn(classes, dim) / math.sqrt(dim))
        self.temperature = temperature

    def forward(self, h):
        return F.normalize(h, dim=1) @ F.normalize(self.anchors, dim=1).t() / self.temperature


class BlendNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = RandomCosines(BANDS, 256)
        self.body = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 32))
        self.head = CosineHead(32, BLENDS)

    def forward(self, x):
        return self.head(self.body(self.project(x)))


def step(model, batch, optimizer):
    x, y = batch
    adam, sgd = optimizer
    loss = F.cross_entropy(model(x), y, label_smoothing=0.15)
    for o in (adam, sgd):
        o.zero_grad()
    loss.backward()
    for o in (adam, sgd):
        o.step()
    return loss.detach()


def parts(variant):
    torch.manual_seed(0)
    (x, y), (xv, yv) = scans(1500, 6), scans(500, 7)
    mean, std = x.mean(0), x.std(0)
    pack = lambda a, b: TensorDataset(torch.from_numpy((a - mean) / std), torch.from_numpy(b))
    model = BlendNet()
    return {"model": model,
            "optimizer": (torch.optim.Adam(model.body.parameters(), lr=1e-3), torch.optim.SGD(model.head.parameters(), lr=0.5)),
            "step": step,
            "train_loader": DataLoader(pack(x, y), batch_size=50, shuffle=True),
            "val_loader": DataLoader(pack(xv, yv), batch_size=250),
            "metric": lambda out, t: (out.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(30):
        p["model"].train()
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        p["model"].eval()
        with torch.no_grad():
            acc = float(np.mean([p["metric"](p["model"](x), y) for x, y in p["val_loader"]]))
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f} val accuracy {acc:.3f}")
    print("score:", acc)
