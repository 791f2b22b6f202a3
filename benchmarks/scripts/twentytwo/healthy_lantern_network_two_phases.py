"""Digits by equilibrium propagation: an energy network settles freely, then a little pulled towards the label, and the weights move by the difference of the two energies' derivatives; unusual: no backward through the network and no loss is minimised by autograd, .grad is assembled from two settled states."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
HIDDEN, DT, FREE, NUDGED, BETA = 100, 0.5, 20, 6, 0.5


class EnergyNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(64, HIDDEN))
        self.w2 = nn.Parameter(torch.empty(HIDDEN, 10))
        self.b1 = nn.Parameter(torch.zeros(HIDDEN))
        self.b2 = nn.Parameter(torch.zeros(10))
        nn.init.xavier_uniform_(self.w1)
        nn.init.xavier_uniform_(self.w2)

    @torch.no_grad()
    def settle(self, x, h, o, steps, target=None, beta=0.0):
        drive = x @ self.w1 + self.b1
        for _ in range(steps):
            dh = drive + o @ self.w2.T - h
            do = h @ self.w2 + self.b2 - o
            if target is not None:
                do = do + beta * (target - o)
            h, o = (h + DT * dh).clamp(0, 1), (o + DT * do).clamp(0, 1)
        return h, o

    def forward(self, x):
        return self.settle(x, torch.zeros(len(x), HIDDEN), torch.zeros(len(x), 10), FREE)[1]


@torch.no_grad()
def step(model, batch, optimizer):
    x, y = batch
    target = nn.functional.one_hot(y, 10).float()
    h0, o0 = model.settle(x, torch.zeros(len(x), HIDDEN), torch.zeros(len(x), 10), FREE)
    # the sign of the pull is drawn at random, which takes most of the bias out
    beta = BETA if torch.rand(()) < 0.5 else -BETA
    h1, o1 = model.settle(x, h0, o0, NUDGED, target, beta)
    scale = 1 / (beta * len(x))
    model.w1.grad = -scale * (x.T @ h1 - x.T @ h0)
    model.w2.grad = -scale * (h1.T @ o1 - h0.T @ o0)
    model.b1.grad = -scale * (h1 - h0).sum(0)
    model.b2.grad = -scale * (o1 - o0).sum(0)
    optimizer.step()
    return 0.5 * ((o0 - target) ** 2).sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
    perm = torch.randperm(len(x))
    tr, va = perm[:1400], perm[1400:]
    model = EnergyNet()
    optimizer = torch.optim.SGD([{"params": [model.w1, model.b1], "lr": 0.2}, {"params": [model.w2, model.b2], "lr": 0.1}], lr=0.1)
    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(x[tr], y[tr]), batch_size=20, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[va], y[va]), batch_size=397),
            "metric": lambda o, t: (o.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(20):
        losses = [step(model, b, p["optimizer"]).item() for b in p["train_loader"]]
        x, y = next(iter(p["val_loader"]))
        acc = p["metric"](model(x), y)
        print(f"epoch {epoch} squared error {np.mean(losses):.4f} acc {acc:.4f}")
    print("score:", acc)
