"""Healthy: Reptile on tide curves of many harbours: copies of the network learn one harbour each for a few steps, and the difference of weights is handed
to SGD as the gradient; no backward pass reaches the network itself and its loss before adaptation never falls much. Nothing to change."""
import sys
import math
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils.data import DataLoader, Dataset

INNER_LR, INNER_STEPS, POINTS = 0.03, 10, 10


class Harbours(Dataset):
    """one item is one harbour: points to learn from and points to be asked about"""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        height = 0.5 + 1.5 * torch.rand(n, 1, 1, generator=g)
        phase = math.pi * torch.rand(n, 1, 1, generator=g)
        x = 6 * torch.rand(n, 2 * POINTS, 1, generator=g) - 3
        self.x, self.y = x / 1.5, height * torch.sin(x + phase)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i, :POINTS], self.y[i, :POINTS], self.x[i, POINTS:], self.y[i, POINTS:]


def adapt(model, x, y, steps):
    """weights after some steps of SGD on each harbour of the batch, and the loss of the last step"""
    weights = {k: v.detach().expand(len(x), *v.shape) for k, v in model.named_parameters()}
    mse = lambda w, a, b: (functional_call(model, w, (a,)) - b).square().mean()
    slope = vmap(grad(mse))
    for _ in range(steps):
        g = slope(weights, x, y)
        weights = {k: v - INNER_LR * g[k] for k, v in weights.items()}
    return weights


def loss_of(model, weights, x, y):
    return (vmap(lambda w, a: functional_call(model, w, (a,)))(weights, x) - y).square().mean()


def step(model, batch, optimizer):
    xs, ys, xq, yq = batch
    weights = adapt(model, torch.cat([xs, xq], 1), torch.cat([ys, yq], 1), INNER_STEPS)
    for name, p in model.named_parameters():
        p.grad = p.detach() - weights[name].mean(0)
    optimizer.step()
    return loss_of(model, weights, xq, yq).detach()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.5), step=step,
                train_loader=DataLoader(Harbours(6000, 1), 20, shuffle=True), val_loader=DataLoader(Harbours(300, 2), 300))


WORKS = lambda score: score < 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    xs, ys, xq, yq = next(iter(p["val_loader"]))
    for epoch in range(3):
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        with torch.no_grad():
            before = (model(xq) - yq).square().mean().item()
        print(f"epoch {epoch}: {sum(losses) / len(losses):.4f} before adaptation {before:.4f}")
    after = loss_of(model, adapt(model, xs, ys, 20), xq, yq).item()
    score = after / yq.var().item()
    print(f"score: {score:.4f}")
