"""Sound: containers a day in harbours, Poisson likelihood of counts in the thousands, Adagrad; the head starts at the log of the mean, so the loss is about -7,400 from the first step and goes down by one in a hundred, which is all there is to learn."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def harbours(n, seed):
    rng = np.random.default_rng(seed)
    berths, depth, rail = rng.integers(2, 14, n), rng.normal(12, 2.5, n), rng.integers(0, 2, n)
    day, storm, strike = rng.integers(0, 7, n), rng.exponential(1.0, n), rng.random(n) < 0.06
    log_rate = (6.2 + 0.5 * np.log(berths) + 0.25 * np.tanh((depth - 11) / 2) + 0.2 * rail * (depth > 11)
                - 0.35 * (day >= 5) - 0.12 * storm - 0.8 * strike)
    y = rng.poisson(np.exp(log_rate + 0.05 * rng.normal(size=n)))
    x = np.stack([berths, depth, rail, day >= 5, storm, strike], 1).astype("float32")
    return x, y.astype("float32")


class CountNet(nn.Module):
    def __init__(self, mean):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(6, 48), nn.ELU(), nn.Linear(48, 48), nn.ELU())
        self.log_rate = nn.Linear(48, 1)
        nn.init.normal_(self.log_rate.weight, std=0.01)
        nn.init.constant_(self.log_rate.bias, float(np.log(mean)))

    def forward(self, x):
        return self.log_rate(self.hidden(x)).squeeze(1)


def deviance_explained(out, y):
    """Share of the Poisson deviance (against the mean) that is explained."""
    dev = lambda mu: 2 * (torch.xlogy(y, y / mu) - (y - mu)).sum()
    return (1 - dev(out.exp()) / dev(y.mean())).item()


def parts(variant):
    torch.manual_seed(0)
    (x, y), (vx, vy) = harbours(3000, 1), harbours(800, 2)
    m, s = x.mean(0), x.std(0)
    f = lambda a, b: TensorDataset(torch.from_numpy((a - m) / s), torch.from_numpy(b))
    model = CountNet(y.mean())
    return {
        "model": model,
        "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.02),
        "loss_fn": nn.PoissonNLLLoss(log_input=True),
        "metric": deviance_explained,
        "train_loader": DataLoader(f(x, y), batch_size=50, shuffle=True),
        "val_loader": DataLoader(f(vx, vy), batch_size=800),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            value = float(np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]]))
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.1f}, deviance explained {value:.3f}")
    print(f"score: {value:.4f}")
