"""Temperature of a tide pool over time, a sparse variational Gaussian process in double precision with learned inducing times; unusual: the loss is a negative evidence bound that goes below zero, parameters are a Cholesky factor, log-scales and places, and there is no layer."""
import sys
import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
N = 1500


def pool(n, rng):
    t = rng.uniform(0, 10, n)
    clean = np.sin(1.3 * t) + 0.5 * np.sin(3.1 * t + 1) + 0.1 * t - 0.5
    return torch.tensor(t)[:, None], torch.tensor(clean + rng.normal(0, 0.15, n)), torch.tensor(clean)


class SVGP(nn.Module):
    def __init__(self, m=24):
        super().__init__()
        self.z = nn.Parameter(torch.linspace(0.2, 9.8, m, dtype=torch.float64)[:, None])
        self.mean = nn.Parameter(torch.zeros(m, dtype=torch.float64))
        self.chol = nn.Parameter(torch.eye(m, dtype=torch.float64))
        self.log_scale = nn.Parameter(torch.tensor(-0.5, dtype=torch.float64))
        self.log_amp = nn.Parameter(torch.tensor(0.0, dtype=torch.float64))
        self.log_noise = nn.Parameter(torch.tensor(-1.0, dtype=torch.float64))

    def kernel(self, a, b):
        return (2 * self.log_amp).exp() * torch.exp(-0.5 * (a - b.T) ** 2 / (2 * self.log_scale).exp())

    def factor(self):
        return self.chol.tril(-1) + torch.diag(self.chol.diagonal().abs() + 1e-6)

    def forward(self, x):
        K = self.kernel(self.z, self.z) + 1e-6 * torch.eye(len(self.z), dtype=torch.float64)
        A = torch.linalg.solve_triangular(torch.linalg.cholesky(K), self.kernel(self.z, x), upper=False)
        mu = A.T @ self.mean                      # whitened
        var = (2 * self.log_amp).exp() - (A ** 2).sum(0) + ((self.factor().T @ A) ** 2).sum(0)
        return mu, var.clamp(min=1e-9)

    def kl(self):
        L = self.factor()
        return 0.5 * ((L ** 2).sum() + self.mean.square().sum() - len(self.mean)) - L.diagonal().log().sum()


def training_step(model, batch):
    x, y = batch
    mu, var = model(x)
    noise = (2 * model.log_noise).exp()
    expected_ll = -0.5 * (math.log(2 * math.pi) + 2 * model.log_noise + ((y - mu) ** 2 + var) / noise)
    return -(expected_ll.mean() - model.kl() / N)


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    t, y, _ = pool(N, rng)
    model = SVGP()
    model.test = pool(400, rng)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    return {"model": model, "optimizer": optimizer, "training_step": training_step,
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 70),
            "train_loader": DataLoader(TensorDataset(t, y), batch_size=100, shuffle=True)}


# rmse against the clean curve
WORKS = lambda score: score < 0.08

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    gp, opt = p["model"], p["optimizer"]
    t, _, clean = gp.test
    for epoch in range(70):
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(gp, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        p["scheduler"].step()
        if epoch % 5 == 4:
            with torch.no_grad():
                rmse = (gp(t)[0] - clean).pow(2).mean().sqrt().item()
            print(f"epoch {epoch + 1} negative elbo {np.mean(losses):.4f} rmse {rmse:.4f} noise {gp.log_noise.exp().item():.3f}")
    print("score:", rmse)
