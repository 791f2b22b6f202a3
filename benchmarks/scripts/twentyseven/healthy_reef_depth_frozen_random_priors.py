"""An ensemble of five networks predicts the depth of a reef from sonar and position with an uncertainty. Odd, but right: half of all parameters are random and frozen for good (each member adds a fixed random prior network to its output), and each member sees its own bootstrap through Poisson weights that come as part of the targets. Adamax. Score: held-out R2 of the mean of the members."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
MEMBERS = 5


def survey(n, seed):
    rng = np.random.default_rng(seed)
    pos = rng.uniform(-1, 1, (n, 2))
    depth = 12 + 5 * np.sin(2.5 * pos[:, 0]) * np.cos(2 * pos[:, 1]) + 3 * pos[:, 1] + 0.5 * rng.standard_normal(n)
    hardness = rng.uniform(0, 1, n)
    echo = depth * 0.15 + 0.8 * hardness + 0.5 * rng.standard_normal(n)
    return np.column_stack([pos, hardness, echo]).astype(np.float32), depth.astype(np.float32)


def mlp(n_in, hidden):
    return nn.Sequential(nn.Linear(n_in, hidden), nn.ELU(), nn.Linear(hidden, hidden), nn.ELU(), nn.Linear(hidden, 1))


class PriorMember(nn.Module):
    def __init__(self, n_in, hidden=48, beta=2.0):
        super().__init__()
        self.net, self.prior, self.beta = mlp(n_in, hidden), mlp(n_in, hidden), beta
        self.prior.requires_grad_(False)

    def forward(self, x):
        return self.net(x) + self.beta * self.prior(x)


class Ensemble(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.members = nn.ModuleList([PriorMember(n_in) for _ in range(MEMBERS)])

    def forward(self, x):
        return torch.cat([m(x) for m in self.members], 1)


def bootstrap_loss(outputs, targets):
    depth, weights = targets[:, :1], targets[:, 1:]
    return (weights * (outputs - depth) ** 2).mean(0).sum()


def r2_of_mean(outputs, targets):
    depth = targets[:, 0]
    return 1 - ((outputs.mean(1) - depth).pow(2).sum() / (depth - depth.mean()).pow(2).sum()).item()


def parts(variant):
    torch.manual_seed(24)
    x, y = survey(2000, 1)
    xv, yv = survey(500, 2)
    mx, sx, my, sy = x.mean(0), x.std(0), y.mean(), y.std()
    x, y, xv, yv = [torch.from_numpy(a) for a in ((x - mx) / sx, (y - my) / sy, (xv - mx) / sx, (yv - my) / sy)]
    weights = torch.poisson(torch.ones(len(x), MEMBERS))
    train = TensorDataset(x, torch.cat([y[:, None], weights], 1))
    held = TensorDataset(xv, torch.cat([yv[:, None], torch.ones(len(xv), MEMBERS)], 1))
    model = Ensemble(x.shape[1])
    optimizer = torch.optim.Adamax([q for q in model.parameters() if q.requires_grad], lr=1e-2)
    return {"model": model, "optimizer": optimizer, "loss_fn": bootstrap_loss, "metric": r2_of_mean,
            "train_loader": DataLoader(train, batch_size=50, shuffle=True), "val_loader": DataLoader(held, batch_size=500)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(18):
        for x, targets in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), targets)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            x, targets = next(iter(p["val_loader"]))
            out = p["model"](x)
            far = p["model"](x * 4).std(1).mean().item()
            score = p["metric"](out, targets)
        if epoch % 3 == 1:
            print(f"epoch {epoch}: loss {loss.item():.3f} R2 {score:.3f} spread near {out.std(1).mean().item():.3f} far {far:.3f}")
    print("score:", score)
