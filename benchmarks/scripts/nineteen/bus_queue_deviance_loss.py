"""Regression of bus-queue counts with a hand-written Poisson deviance; the zero counts are put aside with torch.where(y > 0, y * log(y / mu), 0), whose gradient is nan where y is 0 (0 times infinity). change: torch.xlogy-like log of a clamped y, so that both branches are finite."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def queues(n, seed):
    r = np.random.RandomState(seed)
    hour, rain, day = r.uniform(0, 24, n), r.binomial(1, 0.3, n), r.randint(0, 7, n)
    rate = np.exp(0.3 + 1.3 * np.exp(-(hour - 8) ** 2 / 4) + 1.1 * np.exp(-(hour - 17.5) ** 2 / 5) - 1.0 * (day > 4) + 0.3 * rain)
    X = np.stack([np.sin(hour * np.pi / 12), np.cos(hour * np.pi / 12), np.sin(hour * np.pi / 6), np.cos(hour * np.pi / 6),
                  rain, day > 4], 1)
    y = r.poisson(rate)
    return TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None])


class PoissonDeviance(nn.Module):
    def __init__(self, variant):
        super().__init__()
        self.variant = variant

    def forward(self, mu, y):
        if self.variant == "bad":
            ratio = torch.where(y > 0, y * torch.log(y / mu), torch.zeros_like(y))
        else:
            ratio = y * (torch.log(y.clamp(min=1e-8)) - torch.log(mu))
        return 2 * (ratio - (y - mu)).mean()


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1), nn.Softplus())
    return {"model": model, "loss_fn": PoissonDeviance(variant), "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "train_loader": DataLoader(queues(3000, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(queues(1000, 1), batch_size=250)}


def rank_agreement(model, loader):
    model.eval()
    with torch.no_grad():
        mu = torch.cat([model(x) for x, _ in loader])[:, 0].numpy()
        y = torch.cat([t for _, t in loader])[:, 0].numpy()
    r = np.corrcoef(mu, y)[0, 1]
    return float(np.nan_to_num(r))


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        p["model"].train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        score = rank_agreement(p["model"], p["val_loader"])
        print(f"epoch {epoch}: deviance {np.mean(losses):.4f}, val correlation {score:.4f}")
    print(f"score: {score:.4f}")
