"""A CNN sorts macro photos of snow crystals into plates, stars, columns, needles, dendrites and rimed grains. The training step never clears the gradients, so each update uses the sum of all gradients so far; the right change: call optimizer.zero_grad() before loss.backward()."""
import math
import sys
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
KINDS = ["plate", "star", "column", "needle", "dendrite", "rimed"]


class SnowCrystals(Dataset):
    def __init__(self, n, seed, size=28):
        g = torch.Generator().manual_seed(seed)
        axis = torch.linspace(-1, 1, size)
        yy, xx = torch.meshgrid(axis, axis, indexing="ij")
        self.labels = torch.randint(0, len(KINDS), (n,), generator=g)
        images = []
        for kind in self.labels.tolist():
            turn, scale, ox, oy = torch.rand(4, generator=g).tolist()
            turn, scale = turn * math.pi, 0.45 + 0.35 * scale
            x, y = (xx - 0.3 * ox + 0.15) / scale, (yy - 0.3 * oy + 0.15) / scale
            u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
            r, phi = torch.hypot(u, v), torch.atan2(v, u)
            arms = torch.cos(3 * phi).abs()
            if kind == 0:
                img = torch.sigmoid(14 * (0.85 - r * (0.93 + 0.07 * arms)))
            elif kind == 1:
                img = torch.sigmoid(14 * (0.25 + 0.75 * arms ** 4 - r))
            elif kind == 2:
                img = torch.sigmoid(14 * (1 - torch.maximum(u.abs(), v.abs() * 2.6)))
            elif kind == 3:
                img = torch.sigmoid(14 * (1 - torch.maximum(u.abs() * 0.9, v.abs() * 7)))
            elif kind == 4:
                img = torch.sigmoid(14 * (0.2 + 0.8 * arms ** 4 * (0.6 + 0.4 * torch.cos(14 * r)) - r + 0.1))
            else:
                bumps = F.interpolate(torch.rand(1, 1, 7, 7, generator=g), size=size, mode="bilinear")[0, 0]
                img = torch.sigmoid(14 * (0.8 - r)) * (0.4 + 0.9 * bumps)
            light = 0.5 + 0.5 * torch.rand(1, generator=g)
            images.append(light * img + 0.15 * torch.randn(size, size, generator=g))
        self.images = ((torch.stack(images) - 0.25) / 0.35).unsqueeze(1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


@dataclass
class Config:
    lr: float = 0.02
    momentum: float = 0.9
    batch_size: int = 64
    epochs: int = 8


def build_model():
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(24 * 49, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, len(KINDS)))


def train_step(model, batch, optimizer):
    images, labels = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()


def train_step_short(model, batch, optimizer):
    images, labels = batch
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.detach()


def parts(variant, cfg=Config()):
    torch.manual_seed(11)
    model = build_model()
    return {"model": model, "step": train_step_short if variant == "bad" else train_step,
            "optimizer": torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=cfg.momentum),
            "train_loader": DataLoader(SnowCrystals(2000, 1), batch_size=cfg.batch_size, shuffle=True),
            "val_loader": DataLoader(SnowCrystals(500, 2), batch_size=250),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(Config.epochs):
        p["model"].train()
        total = sum(p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"])
        p["model"].eval()
        with torch.no_grad():
            scores = [p["metric"](p["model"](x), y) for x, y in p["val_loader"]]
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.3f}, val {sum(scores) / len(scores):.3f}")
    print("score:", sum(scores) / len(scores))
