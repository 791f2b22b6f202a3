"""Sound. Looks odd: five classes are learned as one number with a Huber loss, and the metric rounds the output, counts pairs in a table by hand, and is no accuracy. The grades are ordered (0 hard to 4 overripe), a regression uses the order, and the agreement is the quadratic weighted kappa usual for such grades (1 is full agreement, 0 is chance)."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
GRADES = 5


def avocados(n, rng):
    variety = rng.integers(0, 3, n)
    days, warmth = rng.uniform(0, 9, n), rng.normal(19, 3, n)
    ripeness = days * (0.35 + 0.03 * (warmth - 19)) + rng.normal(0, 0.4, n) + 0.3 * (variety == 2)
    firmness = 12 * np.exp(-0.6 * ripeness) * rng.lognormal(0, 0.15, n)
    darkness = np.where(variety == 1, 0.3, 0.25 * ripeness) + rng.normal(0, 0.12, n)
    weight = rng.normal(200, 30, n) - 3 * days
    grade = np.clip(np.round(ripeness + rng.normal(0, 0.25, n)), 0, GRADES - 1)
    table = np.column_stack([variety == 0, variety == 1, variety == 2, days, warmth, firmness, darkness, weight])
    return table.astype(np.float32), grade.astype(np.float32)


class RipenessNet(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
        nn.init.constant_(self.layers[-1].bias, (GRADES - 1) / 2)

    def forward(self, x):
        return self.layers(x)[:, 0]


def quadratic_kappa(outputs, grades):
    given = outputs.round().clamp(0, GRADES - 1).long()
    table = torch.bincount(grades.long() * GRADES + given, minlength=GRADES ** 2).view(GRADES, GRADES).double()
    k = torch.arange(GRADES)
    cost = (k[:, None] - k[None]).double() ** 2 / (GRADES - 1) ** 2
    chance = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / table.sum()
    return 1 - (cost * table).sum() / (cost * chance).sum()


def parts(variant):
    torch.manual_seed(15)
    x, grade = avocados(2400, np.random.default_rng(15))
    cut = 1900
    mean, std = x[:cut].mean(0), x[:cut].std(0)
    x, grade = torch.from_numpy((x - mean) / std), torch.from_numpy(grade)
    model = RipenessNet(x.shape[1])
    return {"model": model, "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3), "loss_fn": nn.HuberLoss(delta=1.0),
            "metric": quadratic_kappa, "train_loader": DataLoader(TensorDataset(x[:cut], grade[:cut]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[cut:], grade[cut:]), batch_size=500)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(12):
        p["model"].train()
        for x, grade in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), grade)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            x, grade = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), grade).item()
        print(f"epoch {epoch}: loss {loss.item():.3f}, kappa {score:.3f}")
    print("score:", score)
