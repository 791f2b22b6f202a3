"""Surrogate of a heated rod: the profile after k steps from the first profile, a CNN whose channels are modulated by an embedding of the time; mistake: the time is k // STEPS for k below STEPS, so the embedding gets 0 in every example; change: k / STEPS."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

POINTS, STEPS, MODES = 48, 200, 6


def rods(n, seed):
    """Exact solution of u_t = u_xx - u_x on a ring, read at a random step."""
    g = torch.Generator().manual_seed(seed)
    place = torch.arange(POINTS) / POINTS * 2 * math.pi
    k = torch.randint(0, STEPS, (n,), generator=g)
    t = (k / STEPS).unsqueeze(1) * 1.5
    first, later = torch.zeros(n, POINTS), torch.zeros(n, POINTS)
    for m in range(1, MODES + 1):
        a = torch.randn(n, 1, generator=g) / m
        phase = 2 * math.pi * torch.rand(n, 1, generator=g)
        first += a * torch.sin(m * place + phase)
        later += a * torch.exp(-0.1 * m ** 2 * t) * torch.sin(m * (place - 2 * t) + phase)
    return first, k, later


class Film(nn.Module):
    def __init__(self, width, time_width):
        super().__init__()
        self.conv = nn.Conv1d(width, width, 7, padding=3, padding_mode="circular", dilation=1)
        self.scale_shift = nn.Linear(time_width, 2 * width)

    def forward(self, h, time):
        scale, shift = self.scale_shift(time).unsqueeze(-1).chunk(2, 1)
        return h + torch.relu(self.conv(h) * (1 + scale) + shift)


class Surrogate(nn.Module):
    def __init__(self, width=32, time_width=32, depth=5):
        super().__init__()
        self.time = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, time_width), nn.SiLU())
        self.lift = nn.Conv1d(1, width, 7, padding=3, padding_mode="circular")
        self.blocks = nn.ModuleList(Film(width, time_width) for _ in range(depth))
        self.lower = nn.Conv1d(width, 1, 1)

    def forward(self, first, when):
        time = self.time(when.unsqueeze(1).float())
        h = self.lift(first.unsqueeze(1))
        for block in self.blocks:
            h = block(h, time)
        return self.lower(h).squeeze(1)


def parts(variant):
    torch.manual_seed(0)

    def tensors(n, seed):
        first, k, later = rods(n, seed)
        when = k // STEPS if variant == "bad" else k / STEPS
        return TensorDataset(first, when, later)

    model = Surrogate()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def training_step(model, batch):
        first, when, later = batch
        return ((model(first, when) - later) ** 2).mean()

    return {
        "model": model,
        "optimizer": optimizer,
        "training_step": training_step,
        "train_loader": DataLoader(tensors(3000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(tensors(300, 2), batch_size=100),
    }


@torch.no_grad()
def explained(model, loader):
    model.eval()
    error = power = 0.0
    for first, when, later in loader:
        error += ((model(first, when) - later) ** 2).sum().item()
        power += (later ** 2).sum().item()
    return 1 - error / power


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    step = 0
    while step < 840:
        model.train()
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            step += 1
        print(f"step {step}: loss {loss.item():.4f}, explained {explained(model, p['val_loader']):.3f}")
    print(f"score: {explained(model, p['val_loader']):.4f}")
