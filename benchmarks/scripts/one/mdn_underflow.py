"""Mixture density network on an inverse problem with targets of tens; densities are computed with exp and only then log(p + 1e-10): every density underflows to 0, the loss stands at 23.03 with no gradient; the right change: logsumexp of log densities."""
import sys, math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class MDN(nn.Module):
    def __init__(self, k=5, hidden=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.pi = nn.Linear(hidden, k)
        self.mu = nn.Linear(hidden, k)
        self.log_sigma = nn.Linear(hidden, k)

    def forward(self, x):
        h = self.body(x)
        return F.log_softmax(self.pi(h), 1), self.mu(h), self.log_sigma(h)


def mdn_loss(out, y):
    log_pi, mu, log_sigma = out
    sigma = log_sigma.exp()
    pdf = torch.exp(-0.5 * ((y - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return -torch.log((log_pi.exp() * pdf).sum(1) + 1e-10).mean()


def mdn_loss_stable(out, y):
    log_pi, mu, log_sigma = out
    lp = -0.5 * ((y - mu) / log_sigma.exp()) ** 2 - log_sigma - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(log_pi + lp, 1).mean()


def data(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.rand(n, 1, generator=g) * 40 + 20
    x = torch.sin((y - 40) / 6) + 0.05 * (y - 40) + 0.1 * torch.randn(n, 1, generator=g)
    return TensorDataset(x, y)


def parts(variant):
    torch.manual_seed(0)
    net = MDN()
    return dict(model=net, optimizer=torch.optim.Adam(net.parameters(), lr=5e-3),
                loss_fn=mdn_loss if variant == "bad" else mdn_loss_stable,
                train_loader=DataLoader(data(3000, 1), 100, shuffle=True), val_loader=DataLoader(data(500, 2), 500))


WORKS = lambda score: score < 3.4   # true negative log-likelihood; a uniform density over the range has 3.69

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(60):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        if epoch % 10 == 0:
            print(epoch, loss.item())
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        print("score:", mdn_loss_stable(p["model"](x), y).item())
