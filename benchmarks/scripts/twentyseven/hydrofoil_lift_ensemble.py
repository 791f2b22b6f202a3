"""Ensemble of five networks for the lift coefficient of a hydrofoil; the spread of the members warns of operating points outside of the towing-tank tests.
The list of members is built by multiplying a list with one network in it, so all five are the same module with the same parameters and never disagree; the right change: build each member anew ([make_member() for _ in range(MEMBERS)])."""
import sys

import torch
import torch.nn as nn
from sklearn.metrics import roc_auc_score
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
MEMBERS = 5


def lift(x):
    angle, speed, depth, flap, sweep = x.unbind(1)
    stall = torch.sigmoid(4 * (angle - 0.9))
    return (1.6 * angle + 0.8 * flap) * (1 - 0.7 * stall) - 0.6 * torch.exp(-1.5 * (depth + 1)) - 0.3 * sweep * angle + 0.4 * torch.tanh(speed * flap)


def tank_runs(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, generator=g).clamp(-2.5, 2.5) * torch.tensor([0.5, 0.6, 0.5, 0.5, 0.5])
    return x, lift(x) + 0.05 * torch.randn(n, generator=g)


def sea_trials(n, seed):
    """Half inside the tested envelope, half well outside of it."""
    g = torch.Generator().manual_seed(seed)
    inside, _ = tank_runs(n // 2, seed + 1)
    direction = torch.nn.functional.normalize(torch.randn(n // 2, 5, generator=g), dim=1)
    outside = direction * (2.2 + 1.5 * torch.rand(n // 2, 1, generator=g))
    return torch.cat([inside, outside]), torch.cat([torch.zeros(n // 2), torch.ones(n // 2)])


def make_member(hidden=32):
    return nn.Sequential(nn.Linear(5, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1))


class LiftEnsemble(nn.Module):
    def __init__(self, members):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x):
        return torch.cat([member(x) for member in self.members], dim=1)      # (B, members)


def training_step(model, batch):
    x, y, weight = batch
    error = (model(x) - y.unsqueeze(1)) ** 2
    return (error * weight).mean()


def parts(variant):
    torch.manual_seed(21)
    if variant == "bad":
        members = [make_member()] * MEMBERS
    else:
        members = [make_member() for _ in range(MEMBERS)]
    model = LiftEnsemble(members)
    x, y = tank_runs(1600, 1)
    bootstrap = torch.poisson(torch.ones(len(x), MEMBERS))
    return {"model": model, "training_step": training_step,
            "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
            "train_loader": DataLoader(TensorDataset(x, y, bootstrap), batch_size=40, shuffle=True)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    test_x, test_y = tank_runs(500, 7)
    for epoch in range(24):
        for batch in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
        if epoch % 6 == 5:
            with torch.no_grad():
                rmse = (model(test_x).mean(1) - test_y).pow(2).mean().sqrt()
            print(f"epoch {epoch + 1}: train {loss.item():.4f}, test rmse {rmse:.3f}")
    trials, unfamiliar = sea_trials(600, 11)
    with torch.no_grad():
        spread = model(trials).std(dim=1)
    print("score:", roc_auc_score(unfamiliar.numpy(), spread.numpy()))
