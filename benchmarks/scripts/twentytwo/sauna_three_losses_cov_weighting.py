"""Net for a sauna heater with three losses that are weighted by their coefficient of variation. One of the losses (a penalty outside the allowed range) is exactly zero at the start, its mean is zero, 0/0 makes the weights and then all parameters NaN; the right change: a small constant in the denominator.
Report: https://github.com/rickgroen/cov-weighting/issues/3"""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def sauna_log(n=1200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 6)).astype(np.float32)  # outside, power, load, people, door, stones
    temp = np.tanh(x[:, 0] + 0.6 * x[:, 1] * x[:, 2]) + 0.5 * x[:, 3]
    hum = np.sin(1.5 * x[:, 4]) + 0.4 * x[:, 5]
    y = np.stack([temp, hum], 1) + 0.05 * rng.normal(size=(n, 2))
    return torch.from_numpy(x), torch.tensor(y, dtype=torch.float32)


class CoVWeighting:
    """weights of the losses = std / mean of their ratio to the running mean (single task losses, full history)"""

    def __init__(self, num_losses, eps=0.0):
        self.mean_L = torch.zeros(num_losses)
        self.mean_l = torch.zeros(num_losses)
        self.S_l = torch.zeros(num_losses)
        self.it = -1
        self.eps = eps
        self.num_losses = num_losses

    def combine(self, losses):
        L = torch.stack(losses).detach()
        self.it += 1
        L0 = L if self.it == 0 else self.mean_L
        l = L / (L0 + self.eps)
        if self.it <= 1:
            alphas = torch.ones(self.num_losses) / self.num_losses
        else:
            ls = torch.sqrt(self.S_l / self.it) / (self.mean_l + self.eps)
            alphas = ls / ls.sum()
        # update the running statistics (Welford)
        decay = 1 - 1 / (self.it + 1)
        new_mean_l = decay * self.mean_l + (1 - decay) * l
        self.S_l = self.S_l + (l - self.mean_l) * (l - new_mean_l)
        self.mean_l = new_mean_l
        self.mean_L = decay * self.mean_L + (1 - decay) * L
        return sum(a * x for a, x in zip(alphas, losses))


def parts(variant):
    torch.manual_seed(0)
    x, y = sauna_log()
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    weighting = CoVWeighting(3, eps=0.0 if variant == "bad" else 1e-8)

    def loss_fn(out, target):
        temp = (out[:, 0] - target[:, 0]).pow(2).mean()
        hum = (out[:, 1] - target[:, 1]).abs().mean()
        # the controller must not ask for anything outside the range
        limit = torch.relu(out.abs() - 2.5).mean()
        return weighting.combine([temp, hum, limit])

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": loss_fn,
            "train_loader": DataLoader(TensorDataset(x[:1000], y[:1000]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1000:], y[1000:]), batch_size=200),
            "metric": lambda out, target: 1 - ((out - target) ** 2).mean().item() / target.var().item()}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(60):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                r2 = np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]])
            print(f"epoch {epoch + 1} last loss {loss.item():.4f} R2 {r2:.3f}")
    print("score:", r2)
