"""Predicts how long the foam of a beer stands, by minimising minus 1000 times the concordance of predictions and truth in the batch. Looks odd, is sound: the loss starts near nothing and goes down to about -950, the gradients are large, and Adam does not care. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class Pours(Dataset):
    COLUMNS = ["protein", "hops", "gas", "glass_temp", "fall", "wheat"]

    def __init__(self, n, seed, like=None):
        rng = np.random.default_rng(seed)
        protein, hops = rng.normal(5.5, 1.0, n), rng.gamma(4, 8, n)
        gas, temp = rng.normal(2.5, 0.3, n), rng.normal(8, 3, n)
        fall, wheat = rng.uniform(3, 20, n), (rng.random(n) < 0.3).astype(float)
        foam = 1.5 * gas * np.log1p(fall) * (1 + 0.3 * wheat)
        half_life = 0.25 * protein * np.sqrt(hops / 30 + 0.2) * np.exp(-0.06 * (temp - 8))
        minutes = foam * half_life / 6 * np.exp(rng.normal(0, 0.06, n))
        x = np.stack([protein, hops, gas, temp, fall, wheat], 1)
        y = np.log(minutes)
        if like is None:
            self.stats = (x.mean(0), x.std(0), y.mean(), y.std())
        else:
            self.stats = like.stats
        mx, sx, my, sy = self.stats
        self.x = torch.tensor((x - mx) / sx, dtype=torch.float32)
        self.y = torch.tensor((y - my) / sy, dtype=torch.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def concordance(a, b):
    covariance = ((a - a.mean()) * (b - b.mean())).mean()
    return 2 * covariance / (a.var(unbiased=False) + b.var(unbiased=False) + (a.mean() - b.mean()) ** 2 + 1e-8)


class NegativeConcordance(nn.Module):
    def __init__(self, scale=1000.0):
        super().__init__()
        self.scale = scale

    def forward(self, pred, target):
        return -self.scale * concordance(pred, target)


class FoamNet(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(n_in, 48), nn.Linear(48, 48), nn.Linear(48, 1)

    def forward(self, x):
        h = torch.tanh(self.a(x))
        h = torch.tanh(self.b(h))
        return self.c(h).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    train = Pours(1800, 100)
    val = Pours(500, 101, like=train)
    net = FoamNet(len(Pours.COLUMNS))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    return {"model": net, "optimizer": optimizer, "loss_fn": NegativeConcordance(),
            "scheduler": torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.95),
            "train_loader": DataLoader(train, batch_size=90, shuffle=True),
            "val_loader": DataLoader(val, batch_size=500),
            "metric": lambda out, y: concordance(out, y).item()}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(40):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        p["scheduler"].step()
        net.eval()
        with torch.no_grad():
            score = np.mean([p["metric"](net(x), y) for x, y in p["val_loader"]])
        if epoch % 8 == 0:
            print(f"epoch {epoch}: loss {np.mean(losses):.1f}, concordance on new pours {score:.3f}")
    print("score:", score)
