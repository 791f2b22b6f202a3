"""Parasols sold per beach hour, a negative binomial likelihood with log exposure as an offset and a learned dispersion; the constant of the likelihood is left out, so the loss goes far below zero; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def sales(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    hours = rng.uniform(1, 12, n)
    rate = np.exp(0.6 * X[:, 0] - 0.4 * X[:, 1] ** 2 + 0.5 * np.sin(2 * X[:, 2]) + 0.3)
    counts = rng.poisson(rng.gamma(3.0, hours * rate / 3.0))
    inputs = np.column_stack([X, np.log(hours)])
    truth = np.log(rate * hours)
    return (torch.tensor(a, dtype=torch.float32) for a in (inputs, counts, truth))


class CountNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
        self.log_r = nn.Parameter(torch.zeros(()))

    def forward(self, inputs):
        return self.net(inputs[:, :5]).squeeze(1) + inputs[:, 5]


def training_step(model, batch):
    inputs, k = batch[:2]
    log_mu, r = model(inputs), model.log_r.exp()
    log_rmu = torch.logaddexp(model.log_r.expand_as(log_mu), log_mu)
    log_lik = torch.lgamma(k + r) - torch.lgamma(r) + r * (model.log_r - log_rmu) + k * (log_mu - log_rmu)
    return -log_lik.mean()


def parts(variant):
    torch.manual_seed(0)
    model = CountNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(*sales(3000, 1)), batch_size=60, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*sales(600, 2)), batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(20):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        print(f"epoch {epoch} nll {np.mean(losses):.3f} dispersion {model.log_r.exp().item():.3f}")
    with torch.no_grad():
        got = torch.cat([model(b[0]) for b in p["val_loader"]])
        want = torch.cat([b[2] for b in p["val_loader"]])
    print(f"score: {1 - ((got - want) ** 2).mean().item() / want.var().item():.4f}")
