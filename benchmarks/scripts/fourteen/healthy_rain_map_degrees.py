"""Sound: mean rain from longitude and latitude in raw degrees (up to 180); the net itself turns the degrees into fixed sines and cosines, so the scale of its input does no harm. Nothing to change."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def stations(n, seed):
    g = torch.Generator().manual_seed(seed)
    lon = (torch.rand(n, generator=g) * 360 - 180).round()
    lat = (torch.rand(n, generator=g) * 140 - 70).round()
    a, b = lon * math.pi / 180, lat * math.pi / 180
    rain = 2.0 * torch.exp(-(lat / 12) ** 2) * (1 + 0.5 * torch.sin(2 * a)) + 0.7 * torch.cos(3 * b) * torch.sin(a) + 0.5 * torch.cos(3 * a + 2 * b)
    return TensorDataset(torch.stack([lon, lat], 1), (rain + 0.1 * torch.randn(n, generator=g))[:, None])


class DegreesToWaves(nn.Module):
    def __init__(self, octaves=4):
        super().__init__()
        self.register_buffer("freq", torch.pi / 180 * 2.0 ** torch.arange(octaves))

    def forward(self, degrees):
        angle = degrees[:, :, None] * self.freq
        return torch.cat([angle.sin(), angle.cos()], -1).flatten(1)


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(DegreesToWaves(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nn.HuberLoss(),
        "train_loader": DataLoader(stations(4000, 1), batch_size=64, shuffle=True),
        "val_loader": DataLoader(stations(600, 2), batch_size=300),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, huber = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(25):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = huber(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 4 == 0:
            print(f"epoch {epoch}: huber {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(x) for x, _ in p["val_loader"]])
    ref = torch.cat([y for _, y in p["val_loader"]])
    score = (1 - ((out - ref) ** 2).mean() / ref.var()).item()
    print(f"score: {score:.4f}")
