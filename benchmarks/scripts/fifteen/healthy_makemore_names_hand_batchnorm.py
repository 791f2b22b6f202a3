"""Healthy: a makemore-style character MLP with the lecture's own Linear, BatchNorm and Tanh classes (no bias before the norm, last layer scaled to a tenth), random minibatches by index, SGD at 0.1; names are random, so the loss stays above its entropy. change: nothing, it is sound."""
import random
import sys

import torch
import torch.nn.functional as F
from torch import nn

BLOCK = 3
CHARS = "." + "abcdefghijklmnopqrstuvwxyz"
stoi = {c: i for i, c in enumerate(CHARS)}


def make_words(n, seed):
    rng = random.Random(seed)
    pieces = ["ma", "le", "ko", "ri", "an", "so", "vi", "ta"]
    return ["".join(rng.choice(pieces) for _ in range(rng.randint(2, 3))) for _ in range(n)]


def build_dataset(words):
    X, Y = [], []
    for w in words:
        context = [0] * BLOCK
        for ch in w + ".":
            X.append(context)
            Y.append(stoi[ch])
            context = context[1:] + [stoi[ch]]
    return torch.tensor(X), torch.tensor(Y)


class Linear(nn.Module):
    def __init__(self, fan_in, fan_out, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn((fan_in, fan_out)) / fan_in ** 0.5)
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None

    def forward(self, x):
        out = x @ self.weight
        return out if self.bias is None else out + self.bias


class BatchNorm1d(nn.Module):
    def __init__(self, dim, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.ones(dim))
        self.beta = nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x):
        if self.training:
            xmean, xvar = x.mean(0), x.var(0)
            with torch.no_grad():
                self.running_mean.mul_(1 - self.momentum).add_(self.momentum * xmean)
                self.running_var.mul_(1 - self.momentum).add_(self.momentum * xvar)
        else:
            xmean, xvar = self.running_mean, self.running_var
        xhat = (x - xmean) / torch.sqrt(xvar + self.eps)
        return self.gamma * xhat + self.beta


class CharMLP(nn.Module):
    def __init__(self, n_embd=10, n_hidden=64):
        super().__init__()
        self.C = nn.Parameter(torch.randn((len(CHARS), n_embd)))
        self.layers = nn.Sequential(
            Linear(n_embd * BLOCK, n_hidden, bias=False), BatchNorm1d(n_hidden), nn.Tanh(),
            Linear(n_hidden, n_hidden, bias=False), BatchNorm1d(n_hidden), nn.Tanh(),
            Linear(n_hidden, n_hidden, bias=False), BatchNorm1d(n_hidden), nn.Tanh(),
            Linear(n_hidden, len(CHARS)))
        with torch.no_grad():
            self.layers[-1].weight *= 0.1
            for layer in self.layers[:-1]:
                if isinstance(layer, Linear):
                    layer.weight *= 5 / 3

    def forward(self, idx):
        emb = self.C[idx]
        return self.layers(emb.view(emb.shape[0], -1))


class RandomMinibatches:
    def __init__(self, X, Y, steps, batch_size=32):
        self.X, self.Y, self.steps, self.batch_size = X, Y, steps, batch_size

    def __len__(self):
        return self.steps

    def __iter__(self):
        for _ in range(self.steps):
            ix = torch.randint(0, self.X.shape[0], (self.batch_size,))
            yield self.X[ix], self.Y[ix]


def parts(variant):
    torch.manual_seed(0)
    Xtr, Ytr = build_dataset(make_words(1500, 1))
    Xdev, Ydev = build_dataset(make_words(300, 2))
    model = CharMLP()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return dict(
        model=model,
        optimizer=optimizer,
        loss_fn=F.cross_entropy,
        train_loader=RandomMinibatches(Xtr, Ytr, 500),
        val_loader=[(Xdev, Ydev)],
    )


# per character: log 8 per piece and the guess of the end over 6 letters on the average come to about 0.95 nats
WORKS = lambda score: score < 1.2

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(8):
        if epoch == 6:
            optimizer.param_groups[0]["lr"] = 0.01
        lossi = []
        for Xb, Yb in p["train_loader"]:
            loss = p["loss_fn"](model(Xb), Yb)
            for param in model.parameters():
                param.grad = None
            loss.backward()
            optimizer.step()
            lossi.append(loss.item())
        print(f"{epoch}: {sum(lossi) / len(lossi):.4f}")
    model.eval()
    with torch.no_grad():
        Xdev, Ydev = p["val_loader"][0]
        score = p["loss_fn"](model(Xdev), Ydev).item()
    print(f"score: {score:.4f}")
