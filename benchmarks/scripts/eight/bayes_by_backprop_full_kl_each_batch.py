"""Bayesian regression net (Bayes by backprop); the mistake: the mean negative log-likelihood of a batch gets the whole KL of all weights, so the prior swamps the data; change: `fixed` divides the KL by the number of training points."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

NOISE = 0.3
WORKS = lambda score: score > 0.8


class BayesLinear(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.w_mu = nn.Parameter(torch.randn(n_out, n_in) / n_in ** 0.5)
        self.w_rho = nn.Parameter(torch.full((n_out, n_in), -4.0))
        self.b_mu = nn.Parameter(torch.zeros(n_out))
        self.b_rho = nn.Parameter(torch.full((n_out,), -4.0))

    def forward(self, x):
        # local reparametrisation: sample the activations
        mean = F.linear(x, self.w_mu, self.b_mu)
        var = F.linear(x ** 2, F.softplus(self.w_rho) ** 2, F.softplus(self.b_rho) ** 2)
        return mean + var.clamp(min=1e-9).sqrt() * torch.randn_like(mean)

    def kl(self):
        total = 0.0
        for mu, rho in ((self.w_mu, self.w_rho), (self.b_mu, self.b_rho)):
            s = F.softplus(rho)
            total = total + (0.5 * (s ** 2 + mu ** 2 - 1) - s.log()).sum()
        return total


class BNN(nn.Module):
    def __init__(self, d=4, h=48):
        super().__init__()
        self.l1, self.l2, self.l3 = BayesLinear(d, h), BayesLinear(h, h), BayesLinear(h, 1)

    def forward(self, x):
        return self.l3(torch.tanh(self.l2(torch.tanh(self.l1(x))))).squeeze(-1)

    def kl(self):
        return self.l1.kl() + self.l2.kl() + self.l3.kl()


def friedman_like(n, rng):
    x = rng.uniform(-2, 2, size=(n, 4)).astype(np.float32)
    y = np.sin(2 * x[:, 0]) + 0.6 * x[:, 1] * x[:, 2] + 0.5 * x[:, 3]
    y = y + NOISE * rng.normal(size=n)
    return torch.from_numpy(x), torch.from_numpy(y.astype(np.float32))


def parts(variant="fixed"):
    torch.manual_seed(13)
    rng = np.random.default_rng(13)
    train, val = TensorDataset(*friedman_like(4000, rng)), TensorDataset(*friedman_like(800, rng))
    model = BNN()
    kl_scale = 1.0 / len(train) if variant == "fixed" else 1.0

    def training_step(model, batch):
        x, y = batch
        nll = 0.5 * ((model(x) - y) / NOISE).pow(2).mean()
        return nll + kl_scale * model.kl()

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "train_loader": DataLoader(train, batch_size=64, shuffle=True),
            "val_loader": DataLoader(val, batch_size=800), "training_step": training_step}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(60):
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
        if epoch % 10 == 0:
            print(f"epoch {epoch}: free energy {loss.item():.3f}  kl {model.kl().item():.1f}")
    x, y = next(iter(p["val_loader"]))
    with torch.no_grad():
        mean = torch.stack([model(x) for _ in range(30)]).mean(0)
    print(f"score: {1 - ((mean - y) ** 2).mean().item() / y.var().item():.4f}")
