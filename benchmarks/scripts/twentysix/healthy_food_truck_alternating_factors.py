"""Sound. Looks odd: two optimizers over two halves of one factor model, two forward and two backward passes over the same batch, and each backward fills gradients of the half that is not stepped. It is block coordinate descent (as in alternating least squares): guests move with trucks held, then trucks move against the guests just moved; all gradients are cleared before each half."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
GUESTS, TRUCKS, RANK = 200, 50, 3


def ratings(n, rng):
    u, v = rng.normal(0, 0.8, (GUESTS, RANK)), rng.normal(0, 0.8, (TRUCKS, RANK))
    mild, good = rng.normal(0, 0.4, GUESTS), rng.normal(0, 0.5, TRUCKS)
    cell = rng.choice(GUESTS * TRUCKS, n, replace=False)
    g, t = cell // TRUCKS, cell % TRUCKS
    stars = 3.2 + mild[g] + good[t] + (u[g] * v[t]).sum(1) + rng.normal(0, 0.35, n)
    return torch.from_numpy(np.column_stack([g, t])), torch.tensor(stars, dtype=torch.float32)


class Side(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.vector, self.bias = nn.Embedding(count, RANK), nn.Embedding(count, 1)
        nn.init.normal_(self.vector.weight, std=0.3)
        nn.init.zeros_(self.bias.weight)

    def forward(self, index):
        return self.vector(index), self.bias(index).squeeze(-1)


class FactorModel(nn.Module):
    def __init__(self, average):
        super().__init__()
        self.guests, self.trucks = Side(GUESTS), Side(TRUCKS)
        self.register_buffer("average", average)

    def forward(self, pairs):
        gv, gb = self.guests(pairs[:, 0])
        tv, tb = self.trucks(pairs[:, 1])
        return self.average + gb + tb + (gv * tv).sum(-1)


def objective(model, pairs, stars):
    gv, gb = model.guests(pairs[:, 0])
    tv, tb = model.trucks(pairs[:, 1])
    shrink = gv.pow(2).sum(1) + tv.pow(2).sum(1) + gb ** 2 + tb ** 2
    return ((model(pairs) - stars) ** 2 + 0.03 * shrink).mean()


def make_step(truck_optimizer):
    def step(model, batch, optimizer):
        for half in (optimizer, truck_optimizer):
            model.zero_grad()
            loss = objective(model, *batch)
            loss.backward()
            half.step()
        return loss.detach()
    return step


def parts(variant):
    torch.manual_seed(0)
    pairs, stars = ratings(6000, np.random.default_rng(19))
    model = FactorModel(stars[:5000].mean())
    return {"model": model, "optimizer": torch.optim.Adam(model.guests.parameters(), lr=0.02),
            "step": make_step(torch.optim.Adam(model.trucks.parameters(), lr=0.02)),
            "train_loader": DataLoader(TensorDataset(pairs[:5000], stars[:5000]), batch_size=200, shuffle=True),
            "val_loader": DataLoader(TensorDataset(pairs[5000:], stars[5000:]), batch_size=1000),
            "metric": lambda out, y: 1 - ((out - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(25):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            pairs, stars = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](pairs), stars).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: objective {loss.item():.3f}, R2 {score:.3f}")
    print("score:", score)
