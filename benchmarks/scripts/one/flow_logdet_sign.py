"""RealNVP on the two moons; the log-determinant enters the negative log-likelihood with the wrong sign, so the flow is paid for squeezing all data to one point and the loss falls without bound; the right change: nll = prior - logdet."""
import math
import sys

import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Coupling(nn.Module):
    def __init__(self, mask, hidden=64):
        super().__init__()
        self.register_buffer("mask", mask)
        self.s = nn.Sequential(nn.Linear(2, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.LeakyReLU(), nn.Linear(hidden, 2), nn.Tanh())
        self.t = nn.Sequential(nn.Linear(2, hidden), nn.LeakyReLU(), nn.Linear(hidden, hidden), nn.LeakyReLU(), nn.Linear(hidden, 2))

    def forward(self, x):
        a = x * self.mask
        s, t = self.s(a) * (1 - self.mask), self.t(a) * (1 - self.mask)
        return a + (1 - self.mask) * (x * torch.exp(s) + t), s.sum(1)

    def inverse(self, z):
        a = z * self.mask
        s, t = self.s(a) * (1 - self.mask), self.t(a) * (1 - self.mask)
        return a + (1 - self.mask) * (z - t) * torch.exp(-s)


class RealNVP(nn.Module):
    def __init__(self, n=6):
        super().__init__()
        self.layers = nn.ModuleList(Coupling(torch.tensor([1.0, 0.0]) if i % 2 else torch.tensor([0.0, 1.0])) for i in range(n))

    def forward(self, x):
        logdet = x.new_zeros(len(x))
        for layer in self.layers:
            x, ld = layer(x)
            logdet = logdet + ld
        return x, logdet

    @torch.no_grad()
    def sample(self, n):
        z = torch.randn(n, 2)
        for layer in reversed(self.layers):
            z = layer.inverse(z)
        return z


def parts(variant):
    torch.manual_seed(0)
    x = torch.tensor(make_moons(5000, noise=0.06, random_state=0)[0], dtype=torch.float32)
    x = (x - x.mean(0)) / x.std(0)
    flow = RealNVP()

    def training_step(model, batch):
        z, logdet = model(batch[0])
        prior = 0.5 * (z ** 2).sum(1) + math.log(2 * math.pi)
        return (prior + logdet).mean() if variant == "bad" else (prior - logdet).mean()

    return dict(model=flow, optimizer=torch.optim.Adam(flow.parameters(), lr=1e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(x[:4000]), 200, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[4000:]), 1000))


WORKS = lambda score: score < 0.2

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    flow, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](flow, batch)
            loss.backward()
            opt.step()
        if epoch % 8 == 0:
            print(f"epoch {epoch}: nll {loss.item():.3f}")
    real = next(iter(p["val_loader"]))[0]
    fake = flow.sample(len(real))
    ang = torch.arange(32) * math.pi / 32
    v = torch.stack([ang.cos(), ang.sin()])
    print("score:", (torch.sort(real @ v, 0).values - torch.sort(fake @ v, 0).values).abs().mean().item())
