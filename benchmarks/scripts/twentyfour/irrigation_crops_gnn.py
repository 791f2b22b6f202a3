"""Graph network that names the crop on each field of an irrigation network by a soil and water probe and by the fields on the same ditches. The net has one output per field, trained by mean squared error on the number of the crop and rounded, so a field between two crops gets one of the crops numbered in between; the right change: one output for each crop and cross entropy."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
CROPS = ["alfalfa", "barley", "carrot", "date", "fig", "garlic", "lentil", "melon", "onion", "wheat"]
FIELDS, PROBE = 30, 6
TYPICAL = np.random.default_rng(100).normal(0, 1, (len(CROPS), PROBE))


class IrrigationNetworks(Dataset):
    """Each item: probes and adjacency of the fields of one village, and the crops."""

    def __init__(self, villages, seed):
        rng = np.random.default_rng(seed)
        self.items = [self.village(rng) for _ in range(villages)]

    @staticmethod
    def village(rng):
        ditch = rng.integers(0, 6, FIELDS)
        main_crop = rng.integers(0, len(CROPS), 6)
        crops = np.where(rng.random(FIELDS) < 0.9, main_crop[ditch], rng.integers(0, len(CROPS), FIELDS))
        linked = (ditch[:, None] == ditch[None]) & (rng.random((FIELDS, FIELDS)) < 0.8)
        linked |= rng.random((FIELDS, FIELDS)) < 0.01
        linked = linked | linked.T | np.eye(FIELDS, dtype=bool)
        probe = TYPICAL[crops] + rng.normal(0, 0.9, (FIELDS, PROBE))
        x = np.concatenate([probe, linked / linked.sum(1, keepdims=True)], 1)
        return torch.tensor(x, dtype=torch.float32), torch.tensor(crops)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class SageLayer(nn.Module):
    def __init__(self, a, b):
        super().__init__()
        self.own, self.near = nn.Linear(a, b), nn.Linear(a, b, bias=False)

    def forward(self, h, adj):
        return torch.relu(self.own(h) + self.near(adj @ h))


class CropGNN(nn.Module):
    def __init__(self, outputs, dim=64):
        super().__init__()
        self.layers = nn.ModuleList([SageLayer(PROBE, dim), SageLayer(dim, dim)])
        self.out = nn.Linear(dim, outputs)

    def forward(self, graph):
        h, adj = graph.split([PROBE, FIELDS], -1)
        for layer in self.layers:
            h = layer(h, adj)
        return self.out(h)


def squared(out, crops):
    return nn.functional.mse_loss(out.squeeze(-1), crops.float())


def entropy(out, crops):
    return nn.functional.cross_entropy(out.flatten(0, 1), crops.flatten())


def fields_right(out, crops):
    guess = out.squeeze(-1).round() if out.size(-1) == 1 else out.argmax(-1)
    return (guess == crops).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    outputs, loss_fn = (1, squared) if variant == "bad" else (len(CROPS), entropy)
    model = CropGNN(outputs)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": loss_fn, "metric": fields_right,
            "train_loader": DataLoader(IrrigationNetworks(1000, 30), batch_size=20, shuffle=True),
            "val_loader": DataLoader(IrrigationNetworks(200, 31), batch_size=50)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(20):
        p["model"].train()
        for g, crops in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](g), crops)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            score = float(np.mean([p["metric"](p["model"](g), c) for g, c in p["val_loader"]]))
        print(f"epoch {epoch}: last loss {loss.item():.3f}, fields right {score:.3f}")
    print("score:", score)
