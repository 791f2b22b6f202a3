"""CNN that regresses the position angle of galaxies; the brightness jitter casts images in [0, 1] to uint8, which leaves black images; change: times 255 before the cast."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SIZE = 24


def draw_galaxies(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    theta = rng.uniform(0, np.pi, n)
    c, s = np.cos(theta)[:, None, None], np.sin(theta)[:, None, None]
    dx, dy = xx[None] - rng.normal(0, 1.5, (n, 1, 1)), yy[None] - rng.normal(0, 1.5, (n, 1, 1))
    major, minor = rng.uniform(4, 6, (n, 1, 1)), rng.uniform(1.2, 2.2, (n, 1, 1))
    img = 0.55 * np.exp(-((c * dx + s * dy) / major) ** 2 - ((-s * dx + c * dy) / minor) ** 2)
    img = np.clip(img + 0.12 + rng.normal(0, 0.04, img.shape), 0, 0.8).astype(np.float32)
    target = np.stack([np.cos(2 * theta), np.sin(2 * theta)], 1).astype(np.float32)
    return img, target


class Galaxies(Dataset):
    def __init__(self, n, seed, train, scale):
        self.images, self.targets = draw_galaxies(n, seed)
        self.train, self.scale = train, scale
        self.rng = np.random.default_rng(seed + 50)

    def __len__(self):
        return len(self.images)

    def jitter(self, img):
        gain = self.rng.uniform(0.85, 1.15) if self.train else 1.0
        return (np.clip(img * gain, 0, 1) * self.scale).astype(np.uint8)

    def __getitem__(self, i):
        img = self.jitter(self.images[i])
        x = torch.from_numpy(img).float().div(255).unsqueeze(0)
        return (x - 0.2) / 0.15, torch.from_numpy(self.targets[i])


class AngleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
        self.fc = nn.Sequential(nn.Linear(32 * 9, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x):
        return self.fc(self.body(x))


def parts(variant):
    torch.manual_seed(0)
    scale = 1 if variant == "bad" else 255
    model = AngleNet()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1.5e-3),
        "train_loader": DataLoader(Galaxies(2000, 1, True, scale), batch_size=40, shuffle=True),
        "val_loader": DataLoader(Galaxies(400, 2, False, scale), batch_size=200),
        "loss_fn": nn.MSELoss(),
    }


WORKS = lambda score: score < 10.0  # median error in degrees


@torch.no_grad()
def median_error(model, loader):
    model.eval()
    o = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    d = (torch.atan2(o[:, 1], o[:, 0]) - torch.atan2(y[:, 1], y[:, 0])) / 2
    d = torch.rad2deg(torch.remainder(d + torch.pi / 2, torch.pi) - torch.pi / 2)
    return d.abs().median().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        running = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"epoch {epoch + 1:2d} loss {running / len(p['train_loader']):.4f} median error {median_error(model, p['val_loader']):.1f} deg")
    print(f"score: {median_error(model, p['val_loader']):.4f}")
