"""Healthy: the micrograd demo in PyTorch: labels of minus one and one, a max-margin loss with its own L2 term, the whole set in every step, SGD from a rate of 1.0 falling in a line to 0.1. change: nothing, it is sound."""
import sys

import torch
from sklearn.datasets import make_moons
from torch import nn


class Neuron(nn.Module):
    def __init__(self, nin, nonlin=True):
        super().__init__()
        self.w = nn.Parameter(torch.rand(nin) * 2 - 1)
        self.b = nn.Parameter(torch.zeros(()))
        self.nonlin = nonlin

    def forward(self, x):
        act = x @ self.w + self.b
        return act.relu() if self.nonlin else act


class Layer(nn.Module):
    def __init__(self, nin, nout, **kwargs):
        super().__init__()
        self.neurons = nn.ModuleList([Neuron(nin, **kwargs) for _ in range(nout)])

    def forward(self, x):
        out = torch.stack([n(x) for n in self.neurons], dim=-1)
        return out.squeeze(-1) if len(self.neurons) == 1 else out


class MLP(nn.Module):
    def __init__(self, nin, nouts):
        super().__init__()
        sz = [nin] + nouts
        self.layers = nn.ModuleList([Layer(sz[i], sz[i + 1], nonlin=i != len(nouts) - 1) for i in range(len(nouts))])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def moons(n, seed):
    X, y = make_moons(n_samples=n, noise=0.1, random_state=seed)
    return torch.tensor(X, dtype=torch.float32), torch.tensor(y * 2 - 1, dtype=torch.float32)


def training_step(model, batch):
    X, y = batch
    scores = model(X)
    data_loss = (1 + -y * scores).relu().mean()
    alpha = 1e-4
    reg_loss = alpha * sum((p * p).sum() for p in model.parameters())
    return data_loss + reg_loss


def parts(variant):
    torch.manual_seed(0)
    model = MLP(2, [16, 16, 1])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return dict(
        model=model,
        optimizer=optimizer,
        training_step=training_step,
        train_loader=[moons(100, 1)],
        val_loader=[moons(400, 2)],
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: max(0.1, 1.0 - 0.9 * k / 200)),
    )


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for k in range(200):
        for batch in p["train_loader"]:
            total_loss = training_step(model, batch)
            model.zero_grad()
            total_loss.backward()
            optimizer.step()
        p["scheduler"].step()
        if k % 20 == 0:
            X, y = p["train_loader"][0]
            acc = ((y > 0) == (model(X) > 0)).float().mean().item()
            print(f"step {k} loss {total_loss.item():.4f}, accuracy {acc * 100:.1f}%")
    with torch.no_grad():
        X, y = p["val_loader"][0]
        score = ((y > 0) == (model(X) > 0)).float().mean().item()
    print(f"score: {score:.4f}")
