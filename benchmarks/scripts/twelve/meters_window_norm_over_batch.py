"""Forecast of electricity meters of very different size by a linear-then-MLP net with reversible instance normalisation (RevIN), Adam; the mean and deviation of a window are taken over dim 0, the batch, in place of dim 1, the hours, so that meters of other houses set a window's scale; change: statistics over the hours."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

PAST, AHEAD, KINDS = 48, 12, 2


def windows(n, seed):
    """(n, hours, channels): power and heat of one house; levels range from 0.1 to some thousands."""
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(PAST + AHEAD).float()[None, :, None]
    level = 10 ** (4 * torch.rand(n, 1, 1, generator=g) - 1)
    rest = 0.5 + 2 * torch.rand(n, 1, KINDS, generator=g)
    phase = 6.283 * torch.rand(n, 1, KINDS, generator=g)
    day = torch.sin(6.2832 * t / 24 + phase) + 0.5 * torch.sin(6.2832 * t / 12 + 2 * phase)
    x = level * (rest + 0.4 * day + 0.04 * torch.randn(n, PAST + AHEAD, KINDS, generator=g))
    return x[:, :PAST], x[:, PAST:]


class RevIN(nn.Module):
    def __init__(self, channels, dim, eps=1e-5):
        super().__init__()
        self.dim, self.eps = dim, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        self.mean = x.mean(self.dim, keepdim=True).detach()
        self.std = (x.var(self.dim, keepdim=True, unbiased=False) + self.eps).sqrt().detach()
        if self.dim == 0:                                # one statistic for all the hours of the horizon
            self.mean, self.std = self.mean.mean(1, keepdim=True), self.std.mean(1, keepdim=True)
        return (x - self.mean) / self.std * self.weight + self.bias

    def reverse(self, z):
        return (z - self.bias) / self.weight * self.std + self.mean


class Forecaster(nn.Module):
    def __init__(self, dim, hidden=64):
        super().__init__()
        self.norm = RevIN(KINDS, dim)
        self.net = nn.Sequential(nn.Linear(PAST, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, AHEAD))

    def forward(self, x):
        z = self.norm(x).transpose(1, 2)
        return self.norm.reverse(self.net(z).transpose(1, 2))


class RelativeError(nn.Module):
    """Absolute error, relative to the size of the house's own load."""
    def forward(self, out, y):
        return ((out - y).abs() / y.abs().mean((1, 2), keepdim=True)).mean()


def parts(variant):
    torch.manual_seed(0)
    model = Forecaster(dim=0 if variant == "bad" else 1)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": RelativeError(),
        "train_loader": DataLoader(TensorDataset(*windows(2000, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*windows(400, 2)), batch_size=100),
    }


@torch.no_grad()
def skill(model, loader):
    """Median over the houses of 1 - error / error of their own mean."""
    model.eval()
    rows = []
    for x, y in loader:
        own = (x.mean(1, keepdim=True) - y).abs().mean((1, 2))
        rows.append(1 - (model(x) - y).abs().mean((1, 2)) / own)
    return torch.cat(rows).median().item()


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, skill {skill(model, p['val_loader']):.3f}")
    print(f"score: {skill(model, p['val_loader']):.4f}")
