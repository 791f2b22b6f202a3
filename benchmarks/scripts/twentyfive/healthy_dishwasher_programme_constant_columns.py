"""A dishwasher's planner network gives six settings for a load. What could look odd: two of the six target columns never change (rinse pressure is always 1.2 bar, the drying valve of this model is always 0) and a third is zero on most rows. Why it is right: the controller wants all six numbers, a constant is learned by the bias, and the score is the mean R2 of the four that vary."""
import sys
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
COLUMNS = ["minutes", "water", "temperature", "salt", "rinse_pressure", "drying_valve"]


@dataclass
class Loads(Dataset):
    inputs: torch.Tensor
    settings: torch.Tensor

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, i):
        return self.inputs[i], self.settings[i]


def record(n, gen):
    u = lambda: torch.rand(n, generator=gen)
    noise = lambda s: s * torch.randn(n, generator=gen)
    dishes, dirt, grease, hardness, pans = u(), u() ** 2, u(), u(), (u() < 0.3).float()
    minutes = 0.7 + 0.5 * dishes + 1.2 * dirt * (1 + 0.6 * pans) + noise(0.06)
    water = 0.9 + 0.6 * dishes + 0.5 * dirt ** 0.5 + noise(0.05)
    temperature = 0.5 + 0.7 * torch.maximum(grease, 0.6 * pans) + noise(0.04)
    salt = torch.relu(2.5 * (hardness - 0.65)) * (1 + noise(0.08))
    pressure, valve = torch.full((n,), 1.2), torch.zeros(n)
    x = torch.stack([dishes, dirt, grease, hardness, pans], dim=1)
    return Loads(2 * x - 1, torch.stack([minutes, water, temperature, salt, pressure, valve], dim=1))


class Planner(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.settings = nn.Linear(hidden, len(COLUMNS))

    def forward(self, load):
        return self.settings(self.body(load))


def r2_of_the_four(pred, true):
    pred, true = pred[:, :4], true[:, :4]
    return (1 - (pred - true).pow(2).mean(0) / true.var(0, unbiased=False)).mean().item()


def parts(variant):
    torch.manual_seed(22)
    gen = torch.Generator().manual_seed(220)
    model = Planner()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": nn.MSELoss(), "metric": r2_of_the_four,
            "train_loader": DataLoader(record(2400, gen), batch_size=48, shuffle=True),
            "val_loader": DataLoader(record(500, gen), batch_size=500)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    planner, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        for load, settings in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](planner(load), settings)
            loss.backward()
            optimizer.step()
        if epoch % 3 == 2:
            print(f"epoch {epoch}: loss {loss.item():.5f}")
    with torch.no_grad():
        load, settings = next(iter(p["val_loader"]))
        pred = planner(load)
    for name, a, b in zip(COLUMNS, pred.T, settings.T):
        print(f"{name}: off by {(a - b).abs().mean():.3f}")
    print("score:", p["metric"](pred, settings))
