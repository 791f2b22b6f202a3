"""Deep ensemble of five nets for the output of a power plant; the optimizer is built from `net`, which after the loop is the last member alone, so four of five are never trained; change: it is built from the ensemble."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def plant(n, seed):
    rng = np.random.default_rng(seed)
    ambient, vacuum, pressure, humidity = rng.normal(size=(4, n))
    vacuum = 0.8 * ambient + 0.6 * vacuum
    y = -0.9 * ambient - 0.3 * vacuum + 0.4 * np.sin(2 * pressure) * ambient + 0.3 * np.abs(humidity)
    y = y + 0.1 * rng.normal(size=n)
    x = np.stack([ambient, vacuum, pressure, humidity], 1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor((y - 0.24) / 1.2, dtype=torch.float32)[:, None]


class Ensemble(nn.Module):
    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x):
        return torch.stack([m(x) for m in self.members])  # members x batch x 1


def every_member(output, target):
    return F.mse_loss(output, target.expand_as(output))


def r2_of_mean(output, target):
    mean = output.mean(0)
    return (1 - (mean - target).square().mean() / target.var(unbiased=False)).item()


def parts(variant):
    members = []
    for k in range(5):
        torch.manual_seed(k)
        net = nn.Sequential(nn.Linear(4, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
        members.append(net)
    model = Ensemble(members)
    trained = net.parameters() if variant == "bad" else model.parameters()
    optimizer = torch.optim.Adam(trained, lr=2e-3)
    torch.manual_seed(0)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": every_member,
        "train_loader": DataLoader(TensorDataset(*plant(3000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*plant(600, 2)), batch_size=600),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.3),
        "metric": r2_of_mean,
    }


def fit(p, epochs):
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(epochs):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](model(x), y)
        print(f"epoch {epoch + 1:2d}: loss {loss.item():.4f}  R2 of the mean {score:.3f}")
    return score


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    score = fit(parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"), epochs=25)
    print(f"score: {score:.4f}")
