"""Names the note of a plucked cello string from 256 samples. What could look odd: the filter bank is frozen (requires_grad False) and yet handed to the optimizer with the rest. Why it is right: the filters are pairs of sine and cosine windows at the pitches of the scale, known beforehand; parameters without a gradient are skipped by the optimizer, and the head above them learns."""
import math
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SAMPLES, RATE = 256, 2000.0
NOTES = torch.tensor([130.8, 146.8, 164.8, 174.6, 196.0, 220.0, 246.9])


def pluck(n, gen):
    t = torch.arange(SAMPLES) / RATE
    label = torch.randint(0, len(NOTES), (n,), generator=gen)
    f0 = NOTES[label] * (1 + 0.008 * torch.randn(n, generator=gen))
    wave = torch.zeros(n, SAMPLES)
    for k in range(1, 5):
        amp = torch.rand(n, 1, generator=gen) * 1.2 / k
        phase = 2 * math.pi * torch.rand(n, 1, generator=gen)
        wave += amp * torch.sin(2 * math.pi * k * f0[:, None] * t + phase)
    wave = wave * torch.exp(-t * (3 + 6 * torch.rand(n, 1, generator=gen)))
    return TensorDataset((wave + 0.25 * torch.randn(wave.shape, generator=gen)).unsqueeze(1), label)


class FilterBank(nn.Module):
    def __init__(self, length=128, low=100.0, per_octave=12, count=30):
        super().__init__()
        freqs = low * 2 ** (torch.arange(count) / per_octave)
        t = (torch.arange(length) - length / 2) / RATE
        window = torch.hann_window(length)
        angle = 2 * math.pi * freqs[:, None] * t
        bank = torch.cat([angle.cos() * window, angle.sin() * window]).unsqueeze(1) / length
        self.weight = nn.Parameter(bank, requires_grad=False)
        self.count = count

    def forward(self, wave):
        y = nn.functional.conv1d(wave, self.weight, stride=32)
        power = y[:, :self.count] ** 2 + y[:, self.count:] ** 2
        return torch.log(power.mean(-1) + 1e-5)


class NoteNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.filters = FilterBank()
        self.norm = nn.LayerNorm(self.filters.count)
        self.head = nn.Sequential(nn.Linear(self.filters.count, 64), nn.ReLU(), nn.Linear(64, len(NOTES)))

    def forward(self, wave):
        return self.head(self.norm(self.filters(wave)))


def parts(variant):
    torch.manual_seed(17)
    gen = torch.Generator().manual_seed(170)
    train, val = pluck(2000, gen), pluck(500, gen)
    model = NoteNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=50, shuffle=True),
            "val_loader": DataLoader(val, batch_size=250),
            "metric": lambda logits, y: (logits.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(7):
        model.train()
        for wave, note in p["train_loader"]:
            loss = p["loss_fn"](model(wave), note)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        out = [(model(x), y) for x, y in p["val_loader"]]
    print("score:", p["metric"](torch.cat([o for o, _ in out]), torch.cat([y for _, y in out])))
