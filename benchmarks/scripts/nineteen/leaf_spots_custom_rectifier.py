"""Classifier of leaf measurements with a home-made activation as a torch.autograd.Function; its backward zeroes the gradient where the input was positive, not where it was negative. change: zero the gradient where the input is negative."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_classification
from torch.utils.data import DataLoader, TensorDataset


def make_rectifier(variant):
    class Rectifier(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, grad_output):
            x, = ctx.saved_tensors
            grad = grad_output.clone()
            grad[x > 0 if variant == "bad" else x < 0] = 0
            return grad

    return Rectifier


class Act(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x):
        return self.fn.apply(x)


def parts(variant):
    torch.manual_seed(0)
    X, y = make_classification(3000, 24, n_informative=10, n_redundant=4, n_classes=5, n_clusters_per_class=2,
                               class_sep=1.6, flip_y=0.0, random_state=3)
    X = (X - X.mean(0)) / X.std(0)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    fn = make_rectifier(variant)
    model = nn.Sequential(nn.Linear(24, 64), Act(fn), nn.Linear(64, 64), Act(fn), nn.Linear(64, 32), Act(fn), nn.Linear(32, 5))
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            "train_loader": DataLoader(TensorDataset(X[:2400], y[:2400]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[2400:], y[2400:]), batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            hits = [(net(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]]
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} val acc {np.mean(hits):.4f}")
    score = np.mean(hits)
    print(f"score: {score:.4f}")
