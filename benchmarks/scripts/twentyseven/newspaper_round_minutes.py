"""Predicts how long a newspaper round takes in each of 1200 streets (a base time and a slope per street, which is seen in four records on average, in an embedding table, besides a few numbers).
The weight decay of Adam is laid on the street embeddings too; each row gets a gradient of its own only now and then, but the decay at every step, and is held at zero; the right change: a parameter group without decay for the embedding table (decay only for the layers)."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
STREETS = 1200


def round_book():
    g = torch.Generator().manual_seed(42)
    effect = torch.randn(STREETS, generator=g)                 # gates, stairs, dogs
    slope = 0.4 * torch.randn(STREETS, generator=g)
    n = 6000
    street = torch.randint(0, STREETS, (n,), generator=g)
    numbers = torch.randn(n, 3, generator=g)                   # papers, weight of the issue, rain
    minutes = effect[street] + slope[street] * numbers[:, 1] + 0.6 * numbers[:, 0] + 0.3 * numbers[:, 2].clamp(min=0) ** 2
    minutes = minutes + 0.3 * torch.randn(n, generator=g)
    minutes = (minutes - minutes.mean()) / minutes.std()
    return street, numbers, minutes


class RoundNet(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.street = nn.Embedding(STREETS, 2)
        nn.init.normal_(self.street.weight, std=0.1)
        self.layers = nn.Sequential(nn.Linear(3, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, inputs):
        street, numbers = inputs
        base, per_weight = self.street(street).unbind(1)
        return self.layers(numbers).squeeze(1) + base + per_weight * numbers[:, 1]


class Records(torch.utils.data.Dataset):
    def __init__(self, street, numbers, minutes):
        self.columns = street, numbers, minutes

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, i):
        street, numbers, minutes = (column[i] for column in self.columns)
        return (street, numbers), minutes


def r2(output, target):
    return 1 - ((output - target) ** 2).mean().item() / target.var().item()


def make_optimizer(model, everything):
    if everything:
        return torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-2)
    return torch.optim.Adam([{"params": model.street.parameters(), "weight_decay": 0.0},
                             {"params": model.layers.parameters()}], lr=5e-3, weight_decay=1e-2)


def parts(variant):
    torch.manual_seed(2)
    book = round_book()
    train, held = [c[:4800] for c in book], [c[4800:] for c in book]
    model = RoundNet()
    return {"model": model, "loss_fn": nn.MSELoss(), "metric": r2,
            "optimizer": make_optimizer(model, everything=variant == "bad"),
            "train_loader": DataLoader(Records(*train), batch_size=60, shuffle=True),
            "val_loader": DataLoader(Records(*held), batch_size=1200)}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        for inputs, minutes in p["train_loader"]:
            loss = p["loss_fn"](model(inputs), minutes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            inputs, minutes = next(iter(p["val_loader"]))
            score = p["metric"](model(inputs), minutes)
        print(f"epoch {epoch}: train {loss.item():.3f}, held-out R2 {score:.3f}")
    print("score:", score)
