"""SimCLR on windows of a three-axis accelerometer (sixteen gestures, random phase and amplitude), judged by nearest neighbours in the embedding; bad: the optimizer was given the projector's parameters only, the encoder stays at its random start; change: encoder and projector are both in the optimizer."""
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 64


def windows(n, seed):
    g = torch.Generator().manual_seed(seed)
    gesture = torch.randint(0, 16, (n,), generator=g)
    freq, lag = 4.0 + (gesture // 4), (gesture % 4) * math.pi / 2
    t = torch.linspace(0, 1, LENGTH)
    phase = torch.rand(n, 1, generator=g) * 2 * math.pi
    w = 2 * math.pi * freq[:, None] * t
    amp = 0.6 + 0.8 * torch.rand(n, 1, generator=g)
    x = torch.stack([amp * torch.sin(w + phase), amp * torch.sin(w + phase + lag[:, None]), torch.zeros(n, LENGTH)], 1)
    drift = torch.randn(n, 3, 1, generator=g) * 2.5 + torch.randn(n, 3, 1, generator=g) * 4 * (t - 0.5)
    return x + drift + 0.5 * torch.randn(n, 3, LENGTH, generator=g), gesture


def augment(x):
    n = len(x)
    shift = torch.randint(0, 16, (n,)).tolist()
    x = torch.stack([torch.roll(a, s, dims=-1) for a, s in zip(x, shift)])
    x = x * (0.7 + 0.6 * torch.rand(n, 1, 1)) + 2.5 * torch.randn(n, 3, 1) + torch.randn(n, 3, 1) * torch.linspace(-2, 2, LENGTH)
    return x + 0.2 * torch.randn_like(x)


class SimCLR(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv1d(3, 24, 7, padding=3), nn.BatchNorm1d(24), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(24, 48, 5, padding=2), nn.BatchNorm1d(48), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(48, 48, 5, padding=2), nn.BatchNorm1d(48), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.projector = nn.Linear(48, dim)

    def forward(self, x):
        return F.normalize(self.projector(self.encoder(x)), dim=1)


def nt_xent(za, zb, temperature=0.2):
    z = torch.cat([za, zb])
    sim = z @ z.T / temperature
    sim.fill_diagonal_(-1e9)
    n = len(za)
    partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(sim, partner)


def parts(variant):
    torch.manual_seed(0)
    model = SimCLR()

    def training_step(model, batch):
        x = batch[0]
        return nt_xent(model(augment(x)), model(augment(x)))

    params = model.projector.parameters() if variant == "bad" else model.parameters()
    return dict(model=model, optimizer=torch.optim.Adam(params, lr=2e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(*windows(1600, 1)), batch_size=128, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(*windows(400, 2)), batch_size=400))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        total = 0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: nt-xent {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        bank_x, bank_y = p["train_loader"].dataset.tensors
        bank = model(bank_x)
        x, y = next(iter(p["val_loader"]))
        near = (model(x) @ bank.T).topk(9, dim=1).indices
        vote = torch.mode(bank_y[near], dim=1).values
    score = (vote == y).float().mean().item()
    print(f"score: {score:.4f}")
