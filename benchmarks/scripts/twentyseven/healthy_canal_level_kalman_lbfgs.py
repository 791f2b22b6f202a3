"""Maximum likelihood of a local linear trend for the water levels of canals with a Kalman filter. Odd, but right: three parameters only (logarithms of variances that span two powers of ten), all in float64, LBFGS with a line search calls the whole set several times in a step, and the loss goes below zero since densities exceed one. Score: held-out mean negative log likelihood of a day."""
import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
F64 = torch.float64
DAYS, BURN_IN = 50, 5
TRUE_STD = {"level": 0.05, "trend": 0.01, "gauge": 0.08}


def record_levels(canals, g):
    level, trend = torch.randn(canals, generator=g, dtype=F64), 0.02 * torch.randn(canals, generator=g, dtype=F64)
    days = []
    for _ in range(DAYS):
        level = level + trend + TRUE_STD["level"] * torch.randn(canals, generator=g, dtype=F64)
        trend = trend + TRUE_STD["trend"] * torch.randn(canals, generator=g, dtype=F64)
        days.append(level + TRUE_STD["gauge"] * torch.randn(canals, generator=g, dtype=F64))
    return torch.stack(days, 1)


class LocalLinearTrend(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_level = nn.Parameter(torch.tensor(-2.0, dtype=F64))
        self.log_trend = nn.Parameter(torch.tensor(-2.0, dtype=F64))
        self.log_gauge = nn.Parameter(torch.tensor(-2.0, dtype=F64))

    def forward(self, y):
        """One-day-ahead means and variances; the covariance is the same for all canals."""
        q_level, q_trend, r = self.log_level.exp(), self.log_trend.exp(), self.log_gauge.exp()
        level, trend = y[:, 0], torch.zeros(len(y), dtype=F64)
        p11, p12, p22 = r, torch.zeros((), dtype=F64), torch.tensor(0.01, dtype=F64)
        means, variances = [], []
        for t in range(1, y.size(1)):
            level = level + trend
            p11, p12, p22 = p11 + 2 * p12 + p22 + q_level, p12 + p22, p22 + q_trend
            s = p11 + r
            means.append(level)
            variances.append(s)
            k1, k2, error = p11 / s, p12 / s, y[:, t] - level
            level, trend = level + k1 * error, trend + k2 * error
            p11, p12, p22 = (1 - k1) * p11, (1 - k1) * p12, p22 - k2 * p12
        return torch.stack(means, 1), torch.stack(variances)


def filter_nll(outputs, y):
    mean, var = outputs
    mean, var, y = mean[:, BURN_IN:], var[BURN_IN:], y[:, BURN_IN + 1:]
    return (0.5 * (torch.log(2 * math.pi * var) + (y - mean) ** 2 / var)).mean()


def lbfgs_step(model, batch, optimizer):
    levels, target = batch

    def closure():
        optimizer.zero_grad()
        loss = filter_nll(model(levels), target)
        loss.backward()
        return loss
    return optimizer.step(closure).detach()


def parts(variant):
    torch.manual_seed(31)
    g = torch.Generator().manual_seed(310)
    train, held = record_levels(600, g), record_levels(200, g)
    model = LocalLinearTrend()
    return {"model": model, "step": lbfgs_step, "metric": lambda out, y: filter_nll(out, y).item(),
            "optimizer": torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=4, line_search_fn="strong_wolfe"),
            "train_loader": DataLoader(TensorDataset(train, train), batch_size=600),
            "val_loader": DataLoader(TensorDataset(held, held), batch_size=200)}


WORKS = lambda score: score < -0.4

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(12):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            y, target = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](y), target)
        if epoch % 3 == 2:
            print(f"step {epoch}: train {loss.item():.4f} held out {score:.4f}")
    print({n: round(math.exp(q.item() / 2), 4) for n, q in p["model"].named_parameters()}, "true", TRUE_STD)
    print("score:", score)
