"""Hypernetwork: from the wood, length, thickness and arch of a marimba bar it writes the weights of a small tanh network that gives the loudness for a place and strength of the stroke. The last layer of the hypernetwork is drawn with spread 3, so the written weights are tens in size and all tanh units sit at their ends; the right change: std=0.01 for that layer (the weights then begin at its bias)."""
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
BAR, STROKE, UNITS = 5, 3, 20


def workshop(n, gen):
    bar = torch.randn(n, BAR, generator=gen)
    place = 2 * torch.rand(n, generator=gen) - 1
    strength = torch.rand(n, generator=gen)
    hardness = torch.randn(n, generator=gen)
    density, length, thickness, arch, damp = bar.unbind(1)
    node = 0.55 + 0.1 * torch.tanh(length)
    mode = torch.cos(math.pi * place / (2 * node) * (1 + 0.15 * arch))
    upper = 0.4 * torch.sigmoid(hardness + density) * torch.sin(2.2 * place + 0.5 * thickness)
    loud = (strength + 0.3) * (mode + upper) * torch.exp(0.25 * density - 0.2 * damp)
    loud = loud + 0.05 * torch.randn(n, generator=gen)
    return bar, torch.stack([place * 1.7, strength * 3.4 - 1.7, hardness], 1), loud


class HyperNet(nn.Module):
    def __init__(self, spread, hidden=64):
        super().__init__()
        self.shapes = [(STROKE, UNITS), (1, UNITS), (UNITS, 1), (1, 1)]
        total = sum(a * b for a, b in self.shapes)
        self.trunk = nn.Sequential(nn.Linear(BAR, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.write = nn.Linear(hidden, total)
        nn.init.normal_(self.write.weight, std=spread)
        nn.init.normal_(self.write.bias, std=0.4)

    def forward(self, x):
        bar, stroke = x[:, :BAR], x[:, BAR:]
        flat = self.write(self.trunk(bar))
        w1, b1, w2, b2 = [part.view(-1, *shape) for part, shape in
                          zip(flat.split([a * b for a, b in self.shapes], dim=1), self.shapes)]
        h = torch.tanh(torch.bmm(stroke.unsqueeze(1), w1) + b1)
        return (torch.bmm(h, w2) + b2).view(-1)


def r2(outputs, targets):
    return (1 - (outputs - targets).pow(2).mean() / targets.var(unbiased=False)).item()


def parts(variant):
    torch.manual_seed(5)
    gen = torch.Generator().manual_seed(50)
    bar, stroke, loud = workshop(4000, gen)
    x, mean, std = torch.cat([bar, stroke], 1), loud[:3200].mean(), loud[:3200].std()
    y = (loud - mean) / std
    model = HyperNet(spread=3.0 if variant == "bad" else 0.01)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": nn.MSELoss(), "metric": r2,
            "train_loader": DataLoader(TensorDataset(x[:3200], y[:3200]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[3200:], y[3200:]), batch_size=800)}


WORKS = lambda score: score > 0.9


def run(p, epochs):
    for epoch in range(epochs):
        p["model"].train()
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            score = [p["metric"](p["model"](x), y) for x, y in p["val_loader"]][0]
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, val R2 {score:.3f}")
    return score


if __name__ == "__main__":
    print("score:", run(parts(sys.argv[1] if len(sys.argv) > 1 else "bad"), epochs=15))
