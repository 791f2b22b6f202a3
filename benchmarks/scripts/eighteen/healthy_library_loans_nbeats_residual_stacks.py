"""Sound: N-BEATS blocks with backcast and forecast on weekly library loans, absolute error, the forecast layers begin at zero, rate falls by cosine. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BACK, AHEAD, EPOCHS = 42, 7, 20


def loans(days=1800, seed=6):
    rng = np.random.default_rng(seed)
    d = np.arange(days)
    week = np.array([90, 80, 85, 95, 120, 150, 10])[d % 7]
    year = 1 + 0.25 * np.cos(2 * np.pi * d / 365)
    wander = 0.15 * np.sin(2 * np.pi * d / 37)
    return week * (year + wander) + 4 * rng.normal(size=days)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(BACK, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.backcast, self.forecast = nn.Linear(width, BACK), nn.Linear(width, AHEAD)
        nn.init.zeros_(self.forecast.weight)
        nn.init.zeros_(self.forecast.bias)

    def forward(self, x):
        h = self.fc(x)
        return self.backcast(h), self.forecast(h)


class NBeats(nn.Module):
    def __init__(self, blocks=4, width=64):
        super().__init__()
        self.blocks = nn.ModuleList([Block(width) for _ in range(blocks)])

    def forward(self, x):
        total = 0
        for block in self.blocks:
            back, ahead = block(x)
            x, total = x - back, total + ahead
        return total


def parts(variant):
    torch.manual_seed(0)
    s = loans()
    s = torch.tensor((s - s[:1400].mean()) / s[:1400].std(), dtype=torch.float32)

    def windows(part):
        w = part.unfold(0, BACK + AHEAD, 1)
        return TensorDataset(w[:, :BACK], w[:, BACK:])

    model = NBeats()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loss_fn": nn.L1Loss(),
            "train_loader": DataLoader(windows(s[:1400]), 32, shuffle=True), "val_loader": DataLoader(windows(s[1400:]), 400)}


@torch.no_grad()
def mae(model, loader):
    x, y = next(iter(loader))
    return (model(x) - y).abs().mean().item()


WORKS = lambda score: score < 0.35  # mean absolute error a week ahead, in standard deviations

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(EPOCHS):
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        p["scheduler"].step()
        print(f"epoch {epoch + 1}: train {total / len(p['train_loader']):.4f}, val {mae(p['model'], p['val_loader']):.4f}")
    print(f"score: {mae(p['model'], p['val_loader']):.4f}")
