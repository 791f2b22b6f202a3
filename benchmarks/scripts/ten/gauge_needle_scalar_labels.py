"""Reading of an analogue gauge from a photo by a CNN, RMSprop and SmoothL1; the Dataset returns the reading as a scalar, so a batch of labels is (N,) against outputs (N, 1) and the loss is over all N x N pairs; change: the Dataset returns a tensor of one number."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SIZE = 24


class GaugePhotos(Dataset):
    """Dial with a needle that sweeps 270 degrees from empty to full; the reading is 0 ... 10 bar."""

    def __init__(self, n, seed, column):
        g = torch.Generator().manual_seed(seed)
        self.bar = 10 * torch.rand(n, generator=g)
        self.column = column
        angle = math.radians(225) - math.radians(27) * self.bar
        yy, xx = torch.meshgrid(torch.linspace(1, -1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
        dx, dy = angle.cos()[:, None, None], angle.sin()[:, None, None]
        along, across = xx * dx + yy * dy, (yy * dx - xx * dy).abs()
        needle = ((along > -0.15) & (along < 0.75)).float() * torch.exp(-(across / 0.09) ** 2)
        rim = torch.exp(-((xx ** 2 + yy ** 2).sqrt() - 0.9).abs() / 0.05)
        light = 0.7 + 0.5 * torch.rand(n, 1, 1, generator=g)
        img = light * (0.8 - 0.9 * needle - 0.5 * rim) + 0.08 * torch.randn(n, SIZE, SIZE, generator=g)
        self.img = ((img - 0.55) / 0.35)[:, None]

    def __len__(self):
        return len(self.bar)

    def __getitem__(self, i):
        reading = (self.bar[i].item() - 5.0) / 2.9
        label = torch.tensor([reading]) if self.column else torch.tensor(reading)
        return self.img[i], label


class GaugeReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        )
        self.fc1 = nn.Linear(32 * 36, 64)
        self.fc2 = nn.Linear(64, 1)

    def forward(self, img):
        h = self.conv(img).flatten(1)
        return self.fc2(torch.relu(self.fc1(h)))


def r2(output, target):
    o, t = output.flatten(), target.flatten()
    return (1 - (o - t).square().mean() / t.var()).item()


def parts(variant):
    torch.manual_seed(0)
    model = GaugeReader()
    column = variant != "bad"
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=5e-4),
        "loss_fn": nn.SmoothL1Loss(),
        "train_loader": DataLoader(GaugePhotos(1280, 1, column), batch_size=32, shuffle=True),
        "val_loader": DataLoader(GaugePhotos(400, 2, column), batch_size=100),
        "metric": r2,
    }


@torch.no_grad()
def validate(model, loader):
    model.eval()
    pairs = [(model(img), reading) for img, reading in loader]
    model.train()
    return r2(torch.cat([p for p, _ in pairs]), torch.cat([t for _, t in pairs]))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(6):
        running = 0.0
        for img, reading in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(img), reading)
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch + 1:2d}  loss {running / len(p['train_loader']):.4f}  R2 {validate(model, p['val_loader']):.3f}")
    value = validate(model, p["val_loader"])
    print(f"score: {value:.4f}")
