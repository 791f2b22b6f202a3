"""Sound program: a Glow-like flow for a table of eight sensors, Adamax; the scales and shifts of its actnorm layers are set from the first batch within the forward pass, without any optimizer step, and the last layers of the couplings start at zero."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DIM = 8


def sensors(n, seed):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.rand(n, generator=g) * 6.28, torch.randn(n, generator=g)
    mode = (torch.rand(n, generator=g) < 0.4).float()
    x = torch.stack([a.sin(), a.cos(), b, b ** 2 - 1, 2 * mode - 1 + 0.3 * b, a.sin() * b, (2 * a).cos(), mode * b], 1)
    return x + 0.15 * torch.randn(n, DIM, generator=g)


class ActNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_scale, self.shift = nn.Parameter(torch.zeros(DIM)), nn.Parameter(torch.zeros(DIM))
        self.register_buffer("ready", torch.tensor(False))

    def forward(self, x):
        if self.training and not self.ready:
            with torch.no_grad():
                self.shift.copy_(-x.mean(0))
                self.log_scale.copy_(-x.std(0).log())
                self.ready.fill_(True)
        return (x + self.shift) * self.log_scale.exp(), self.log_scale.sum()


class Coupling(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(DIM // 2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, DIM))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        a, b = x.chunk(2, 1)
        s, t = self.net(a).chunk(2, 1)
        s = 1.5 * torch.tanh(s)
        return torch.cat([a, b * s.exp() + t], 1), s.sum(1)


class Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(DIM, DIM))[0])

    def forward(self, x):
        return x @ self.weight, torch.linalg.slogdet(self.weight)[1]


class Flow(nn.Module):
    def __init__(self, depth=5):
        super().__init__()
        self.layers = nn.ModuleList(layer() for _ in range(depth) for layer in (ActNorm, Mix, Coupling))

    def log_prob(self, x):
        total = 0.0
        for layer in self.layers:
            x, log_det = layer(x)
            total = total + log_det
        return total - 0.5 * x.pow(2).sum(1) - 0.5 * DIM * math.log(2 * math.pi)

    forward = log_prob


def training_step(model, batch):
    return -model(batch[0]).mean()


def parts(variant):
    torch.manual_seed(0)
    train = sensors(4000, 1)
    mean, std = train.mean(0), train.std(0)
    model = Flow()
    return {
        "model": model,
        "optimizer": torch.optim.Adamax(model.parameters(), lr=3e-3),
        "train_loader": DataLoader(TensorDataset((train - mean) / std), batch_size=100, shuffle=True),
        "val_loader": DataLoader(TensorDataset((sensors(1000, 2) - mean) / std), batch_size=500),
        "training_step": training_step,
    }


WORKS = lambda score: score > 3.0


@torch.no_grad()
def gain(model, loader):
    """held-out log likelihood above that of one full Gaussian"""
    model.eval()
    x = torch.cat([batch[0] for batch in loader])
    gauss = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    result = (model(x) - gauss.log_prob(x)).mean().item()
    model.train()
    return result


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(21):
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: nll {loss.item():.3f}, gain over a Gaussian {gain(model, p['val_loader']):.3f}")
    print(f"score: {gain(model, p['val_loader']):.4f}")
