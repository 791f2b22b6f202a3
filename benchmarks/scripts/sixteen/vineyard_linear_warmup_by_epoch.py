"""Grape ripeness (five grades) from a reflectance spectrum, 1-d CNN with SGD; bad: LinearLR(start_factor=0.001, total_iters=400), meant in batches, is stepped once an epoch, so the rate never leaves the bottom of the warm-up; change: scheduler.step() after each batch."""
import sys
import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader, TensorDataset


def spectra(n, seed):
    rng = np.random.default_rng(seed)
    grade = rng.integers(0, 5, n)
    wl = np.linspace(0, 1, 80)
    sugar = grade[:, None] * 0.11 + rng.normal(0, 0.025, (n, 1))
    s = 0.6 + 0.3 * np.tanh(8 * (wl - 0.45)) - (0.05 + sugar) * np.exp(-((wl - 0.7) / 0.05) ** 2)
    s -= (0.6 - sugar) * 0.4 * np.exp(-((wl - 0.25) / 0.04) ** 2)
    s = s * rng.uniform(0.85, 1.15, (n, 1)) + rng.normal(0, 0.01, s.shape)
    s = (s - s.mean(1, keepdims=True)) / s.std(1, keepdims=True)
    return torch.tensor(s, dtype=torch.float32)[:, None], torch.tensor(grade)


class SpectrumNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2))
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(32 * 20, 64), nn.ReLU(), nn.Linear(64, 5))

    def forward(self, x):
        return self.fc(self.conv(x))


def parts(variant):
    torch.manual_seed(0)
    model = SpectrumNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    scheduler = LinearLR(optimizer, start_factor=0.001, total_iters=400)
    criterion = nn.CrossEntropyLoss()

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        if variant != "bad":
            scheduler.step()
        return loss.detach()

    p = dict(model=model, optimizer=optimizer, step=step,
             train_loader=DataLoader(TensorDataset(*spectra(2500, 0)), batch_size=50, shuffle=True),
             val_loader=DataLoader(TensorDataset(*spectra(500, 1)), batch_size=250))
    if variant == "bad":
        p["scheduler"] = scheduler
    return p


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(14):
        model.train()
        losses = [p["step"](model, batch, optimizer).item() for batch in p["train_loader"]]
        if "scheduler" in p:
            p["scheduler"].step()
        print(f"epoch {epoch + 1:2d}  lr {optimizer.param_groups[0]['lr']:.5f}  loss {np.mean(losses):.4f}")
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in p["val_loader"]:
            right += (model(x).argmax(1) == y).sum().item()
    score = right / 500
    print(f"score: {score:.4f}")
