"""Sound: two tasks with dynamic weight averaging; the weights come from .item() of earlier losses and are plain numbers, while the losses themselves keep their graph. change: nothing."""
import math
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def vines(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 10)).astype(np.float32)
    vigour = np.tanh(x[:, 0] + x[:, 1]) * x[:, 2]
    sugar = 20 + 3 * vigour + x[:, 3] + 0.2 * rng.normal(size=n)
    mildew = np.digitize(vigour + 0.6 * x[:, 4] * x[:, 5], [-0.4, 0.4])
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(sugar.astype(np.float32)), torch.from_numpy(mildew))


class Vineyard(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 96), nn.GELU(), nn.Linear(96, 96), nn.GELU())
        self.sugar = nn.Linear(96, 1)
        self.mildew = nn.Linear(96, 3)

    def forward(self, x):
        h = self.trunk(x)
        return 20 + 3 * self.sugar(h)[:, 0], self.mildew(h)


class DynamicWeights:
    """w_k = K * softmax(L_k(t-1) / L_k(t-2) / T), from means over the last batches."""

    def __init__(self, tasks, every=50, temperature=2.0):
        self.every, self.temperature = every, temperature
        self.weights, self.means, self.sums, self.n = [1.0] * tasks, [], [0.0] * tasks, 0

    def __call__(self, losses):
        self.sums = [s + l.item() for s, l in zip(self.sums, losses)]
        self.n += 1
        if self.n % self.every == 0:
            self.means.append([s / self.every for s in self.sums])
            self.sums = [0.0] * len(losses)
            if len(self.means) > 1:
                ratios = [math.exp(a / b / self.temperature) for a, b in zip(self.means[-1], self.means[-2])]
                self.weights = [len(losses) * r / sum(ratios) for r in ratios]
        return sum(w * l for w, l in zip(self.weights, losses))


def parts(variant):
    torch.manual_seed(0)
    model = Vineyard()
    weigh = DynamicWeights(2)

    def training_step(model, batch):
        x, sugar, mildew = batch
        sugar_hat, mildew_hat = model(x)
        return weigh([nn.functional.mse_loss(sugar_hat, sugar) / 9, nn.functional.cross_entropy(mildew_hat, mildew)])

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(vines(5000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(vines(1000, 2), batch_size=500)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(20):
        losses = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        with torch.no_grad():
            out = [(*model(x), sugar, mildew) for x, sugar, mildew in p["val_loader"]]
        s_hat, m_hat, sugar, mildew = (torch.cat(part) for part in zip(*out))
        r2 = (1 - (s_hat - sugar).pow(2).mean() / sugar.var()).item()
        acc = (m_hat.argmax(1) == mildew).float().mean().item()
        print(f"epoch {epoch:2d}: loss {np.mean(losses):.4f}, sugar R2 {r2:.3f}, mildew acc {acc:.3f}")
    score = min(r2, acc)
    print(f"score: {score:.4f}")
