"""Log-linear count model: hoots of tawny owls per half hour at 20 recorders, from the time of day, weather and moon. The time of day goes in as a plain number from 0 to 24, so the log rate is a straight line that breaks at midnight, where the owls call most; the right change: sin and cos of the hour on the circle."""
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
STATIONS = 20


def field_season(n, gen):
    r = lambda: torch.rand(n, generator=gen)
    site_mood = 0.4 * torch.randn(STATIONS, generator=torch.Generator().manual_seed(77))
    station = torch.randint(0, STATIONS, (n,), generator=gen)
    hour = 24 * r()
    wind, rain, moon, cold = 8 * r(), (r() < 0.25).float(), r(), 12 * r() - 2
    night = 1.9 * torch.cos(2 * math.pi * (hour - 0.5) / 24)
    log_rate = 0.4 + night + site_mood[station] - 0.12 * wind - 0.5 * rain + 0.5 * moon - 0.02 * cold
    hoots = torch.poisson(torch.exp(log_rate + 0.2 * torch.randn(n, generator=gen)), generator=gen)
    return station, hour, torch.stack([wind, rain, moon, cold], 1), hoots


def columns(hour, weather, circular):
    if circular:
        angle = 2 * math.pi * hour / 24
        clock = torch.stack([torch.sin(angle), torch.cos(angle)], 1)
    else:
        clock = (hour / 24).unsqueeze(1)
    return torch.cat([clock, weather / torch.tensor([4.0, 1.0, 1.0, 6.0])], 1)


class HootRate(nn.Module):
    """log of the expected number of hoots"""

    def __init__(self, n_columns):
        super().__init__()
        self.n_columns = n_columns
        self.station = nn.Embedding(STATIONS, 1)
        self.linear = nn.Linear(n_columns, 1)
        nn.init.normal_(self.station.weight, std=0.01)

    def forward(self, x):
        station, cols = x[:, 0].long(), x[:, 1:]
        return (self.linear(cols) + self.station(station)).squeeze(1)


def deviance_explained(outputs, targets):
    def deviance(rate):
        ratio = torch.where(targets > 0, targets * torch.log(targets.clamp(min=1) / rate), torch.zeros_like(targets))
        return 2 * (ratio - (targets - rate)).sum()
    return (1 - deviance(outputs.exp()) / deviance(targets.mean().expand_as(targets))).item()


def parts(variant):
    torch.manual_seed(3)
    gen = torch.Generator().manual_seed(30)
    sets = []
    for n in (3600, 900):
        station, hour, weather, hoots = field_season(n, gen)
        x = torch.cat([station.float().unsqueeze(1), columns(hour, weather, circular=variant != "bad")], 1)
        sets.append(TensorDataset(x, hoots))
    model = HootRate(sets[0].tensors[0].shape[1] - 1)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=0.02),
            "loss_fn": nn.PoissonNLLLoss(log_input=True), "metric": deviance_explained,
            "train_loader": DataLoader(sets[0], batch_size=120, shuffle=True),
            "val_loader": DataLoader(sets[1], batch_size=900)}


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(30):
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            score = sum(p["metric"](model(x), y) for x, y in p["val_loader"]) / len(p["val_loader"])
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}  deviance explained {score:.3f}")
    print("score:", score)
