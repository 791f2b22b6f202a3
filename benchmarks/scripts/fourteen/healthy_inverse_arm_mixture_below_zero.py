"""Healthy: mixture density network for the shoulder angle of an arm from the height of its hand, two answers for one height; the negative log density
falls below zero and goes on falling, and the mean of the output is worthless. Nothing to change."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def arm(n, seed):
    g = torch.Generator().manual_seed(seed)
    angle = (torch.rand(n, 1, generator=g) * 0.9 + 0.05) * math.pi
    load = torch.rand(n, 1, generator=g)
    height = torch.sin(angle) * (1 - 0.2 * load) + 0.003 * torch.randn(n, 1, generator=g)
    return TensorDataset(torch.cat([height * 2 - 1, load * 2 - 1], 1), angle - math.pi / 2)


class MDN(nn.Module):
    def __init__(self, k=5, hidden=64):
        super().__init__()
        self.k = k
        self.trunk = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.heads = nn.Linear(hidden, 3 * k)

    def forward(self, x):
        logit, mu, log_sigma = self.heads(self.trunk(x)).chunk(3, dim=1)
        return logit, mu, log_sigma.clamp(-5, 2)


def mdn_nll(output, target):
    logit, mu, log_sigma = output
    z = (target - mu) / log_sigma.exp()
    component = -0.5 * z ** 2 - log_sigma - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(torch.log_softmax(logit, 1) + component, dim=1).mean()


def parts(variant):
    torch.manual_seed(0)
    model = MDN()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    return dict(model=model, optimizer=optimizer, loss_fn=mdn_nll,
                scheduler=torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.93),
                train_loader=DataLoader(arm(4000, 1), 100, shuffle=True), val_loader=DataLoader(arm(1000, 2), 500))


WORKS = lambda score: score < -0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, sched = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(40):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        sched.step()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        score = sum(p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
    print(f"score: {score:.4f}")
