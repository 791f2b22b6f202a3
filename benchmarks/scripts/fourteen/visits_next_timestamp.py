"""When does a customer come again: GRU over the gaps of the last visits; bad: the target is the Unix time of the next visit in seconds (1.7e9), under MSE. change: the target is the days from the last visit to the next."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DAY = 86400.0


def histories(n, seed, T=12):
    rng = np.random.default_rng(seed)
    base = rng.uniform(3, 30, n)
    trend = rng.uniform(-0.04, 0.04, n)
    ripple = rng.choice([0.0, 0.5], n)
    k = np.arange(T + 1)
    gaps = base[:, None] * (1 + trend[:, None] * k + ripple[:, None] * (-1.0) ** k)
    gaps = np.maximum(gaps * rng.lognormal(0, 0.08, gaps.shape), 0.2)
    start = rng.uniform(1.62e9, 1.70e9, n)
    times = start[:, None] + np.cumsum(gaps, 1) * DAY
    return gaps, times


def build(n, seed, as_gap):
    gaps, times = histories(n, seed)
    x = np.log(gaps[:, :-1])[:, :, None] - 2.5
    y = (times[:, -1] - times[:, -2]) / DAY / 10 if as_gap else times[:, -1]
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None])


class NextVisit(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(1, hidden, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        out, _ = self.gru(x)
        return self.mlp(out[:, -1])


def parts(variant):
    torch.manual_seed(0)
    as_gap = variant != "bad"
    model = NextVisit()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(build(2000, 1, as_gap), batch_size=64, shuffle=True),
        "val_loader": DataLoader(build(500, 2, as_gap), batch_size=250),
    }


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        seen = []
        for x, y in p["train_loader"]:
            loss = mse(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            seen.append(loss.item())
        print(f"epoch {epoch}: train mse {np.mean(seen):.5g}")
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(x) for x, _ in p["val_loader"]]).double()
    ref = torch.cat([y for _, y in p["val_loader"]]).double()
    score = float(1 - ((out - ref) ** 2).mean() / ((ref - ref.mean()) ** 2).mean())
    print(f"score: {score:.4f}")
