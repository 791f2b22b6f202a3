"""Estimates the weight of snow on a roof from ten days of weather with a small convolution over the days. What could look odd: the optimizer is written by hand (Yogi: the second moment moves by a signed step), updates the weights under no_grad, and its rate is 0.02. Why it is right: that is Yogi's published rule, it inherits from Optimizer and steps every parameter."""
import sys

import torch
import torch.nn as nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
DAYS = 10


class Yogi(Optimizer):
    def __init__(self, params, lr=1e-2, betas=(0.9, 0.999), eps=1e-3):
        super().__init__(params, dict(lr=lr, betas=betas, eps=eps))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for w in group["params"]:
                if w.grad is None:
                    continue
                s = self.state[w]
                if not s:
                    s["t"] = 0
                    s["m"] = torch.zeros_like(w)
                    s["v"] = torch.full_like(w, 1e-6)
                s["t"] += 1
                g2 = w.grad ** 2
                s["m"].lerp_(w.grad, 1 - b1)
                s["v"].sub_((1 - b2) * torch.sign(s["v"] - g2) * g2)
                m_hat = s["m"] / (1 - b1 ** s["t"])
                v_hat = s["v"] / (1 - b2 ** s["t"])
                w.sub_(group["lr"] * m_hat / (v_hat.sqrt() + group["eps"]))


def winters(n, gen):
    temp = torch.randn(n, 1, generator=gen) * 4 - 3 + torch.randn(n, DAYS, generator=gen).cumsum(1)
    fall = torch.relu(torch.randn(n, DAYS, generator=gen)) * 8
    sun = torch.rand(n, DAYS, generator=gen)
    load = torch.zeros(n)
    for d in range(DAYS):
        snow = fall[:, d] * torch.sigmoid(-1.5 * (temp[:, d] - 0.5))
        melt = torch.sigmoid(temp[:, d] - 1) * 0.6 + 0.1 * sun[:, d]
        load = (load + snow) * (1 - melt)
    load = load * (1 + 0.06 * torch.randn(n, generator=gen))
    return torch.stack([temp / 5 + 0.5, fall / 5 - 0.6, sun * 2 - 1], dim=1), load / 15


class SnowNet(nn.Module):
    def __init__(self, channels=24):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(3, channels, 3, padding=1), nn.SiLU(),
                                  nn.Conv1d(channels, channels, 3, padding=1), nn.SiLU(), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(channels * DAYS, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.head(self.conv(x)).squeeze(-1)


def r2(pred, y):
    return (1 - (pred - y).pow(2).mean() / y.var()).item()


def parts(variant):
    torch.manual_seed(23)
    gen = torch.Generator().manual_seed(230)
    train, val = winters(3000, gen), winters(600, gen)
    model = SnowNet()
    return {"model": model, "optimizer": Yogi(model.parameters(), lr=2e-2), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(*train), batch_size=60, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*val), batch_size=600), "metric": r2}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        if epoch % 3 == 2:
            print(f"epoch {epoch}: loss {loss.item():.4f}")
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        print("score:", p["metric"](p["model"](x), y))
