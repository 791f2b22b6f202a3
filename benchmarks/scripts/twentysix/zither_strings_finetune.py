"""Fine-tuning: a conv net that has learned the 12 strings of a concert zither from 2500 plucks is to learn six strings of a house zither, tuned in between, from 90 plucks. The pretrained body is trained with a rate of 0.05, which wipes out its filters in the first steps; the right change: 1e-4 for the body, the new head keeps its 3e-3."""
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SAMPLES = 192


def pluck(pitches, per_string, gen):
    """Plucked tones: random phase, bright or dull, some string noise, a short room hum."""
    n = len(pitches) * per_string
    string = torch.arange(n) % len(pitches)
    t = torch.arange(SAMPLES).float()
    rnd = lambda: torch.rand(n, 1, generator=gen)
    f = pitches[string].unsqueeze(1) * (1 + 0.004 * torch.randn(n, 1, generator=gen))
    decay = torch.exp(-t / (60 + 80 * rnd()))
    wave = torch.zeros(n, SAMPLES)
    for k in range(1, 4):
        wave = wave + (0.3 + 0.7 * rnd()) / k * torch.sin(2 * math.pi * (k * f * t + rnd()))
    hum = 0.5 * rnd() * torch.sin(2 * math.pi * (0.012 * t + rnd()))
    x = decay * wave + hum + 0.6 * torch.randn(n, SAMPLES, generator=gen)
    return x.unsqueeze(1), string


def body():
    return nn.Sequential(nn.Conv1d(1, 24, 31, stride=2, padding=15), nn.ReLU(),
                         nn.Conv1d(24, 32, 9, stride=2, padding=4), nn.ReLU(),
                         nn.Conv1d(32, 32, 5, stride=2, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(2), nn.Flatten())


class StringNet(nn.Module):
    def __init__(self, backbone, strings):
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(64, strings)

    def forward(self, x):
        return self.head(self.backbone(x))


def train(model, loader, optimizer, loss_fn, epochs):
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
    return loss.item()


def accuracy(outputs, targets):
    return (outputs.argmax(1) == targets).float().mean().item()


def concert_zither(gen):
    """The pretrained body."""
    pitches = 0.04 * 2 ** (torch.arange(12) / 8.0)
    x, y = pluck(pitches, 210, gen)
    net = StringNet(body(), 12)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    train(net, loader, torch.optim.Adam(net.parameters(), lr=2e-3), nn.CrossEntropyLoss(), epochs=9)
    return net.backbone


def parts(variant):
    torch.manual_seed(13)
    gen = torch.Generator().manual_seed(13)
    model = StringNet(concert_zither(gen), 6)
    pitches = 0.042 * 2 ** (torch.arange(6) / 5.0)
    few, held = pluck(pitches, 15, gen), pluck(pitches, 100, gen)
    optimizer = torch.optim.Adam([
        {"params": model.backbone.parameters(), "lr": 0.05 if variant == "bad" else 1e-4},
        {"params": model.head.parameters(), "lr": 3e-3}])
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(TensorDataset(*few), batch_size=15, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*held), batch_size=600)}


WORKS = lambda score: score > 0.65

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for round_ in range(4):
        loss = train(p["model"], p["train_loader"], p["optimizer"], p["loss_fn"], epochs=5)
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y)
        print(f"epoch {5 * (round_ + 1)}: loss {loss:.3f}, held-out accuracy {score:.3f}")
    print("score:", score)
