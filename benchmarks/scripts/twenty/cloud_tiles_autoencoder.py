"""A convolutional autoencoder compresses grey cloud tiles (12 x 12). Mistake: the tiles are scaled to [-1, 1] while the decoder ends in a sigmoid and can make only [0, 1]. change: the tiles are scaled to [0, 1]."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class CloudTiles(Dataset):
    def __init__(self, count, seed, mean, std):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[0:12, 0:12] / 11.0
        tiles = []
        for _ in range(count):
            a, b, c = rng.uniform(0, 2 * np.pi, 3)
            k = rng.uniform(2.0, 5.0)
            field = np.sin(k * (xx * np.cos(a) + yy * np.sin(a)) + b) + 0.6 * np.cos(2.5 * yy + c)
            tiles.append(np.clip(110 + 70 * field + rng.normal(0, 4, (12, 12)), 0, 255).astype(np.uint8))
        self.tiles, self.mean, self.std = tiles, mean, std

    def __len__(self):
        return len(self.tiles)

    def __getitem__(self, i):
        tile = torch.from_numpy(self.tiles[i]).float().unsqueeze(0) / 255
        tile = (tile - self.mean) / self.std
        return tile, tile


class TileAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ELU(),
            nn.Conv2d(16, 24, 3, stride=2, padding=1), nn.ELU(),
            nn.Flatten(), nn.Linear(24 * 9, 10))
        self.up = nn.Sequential(
            nn.Linear(10, 24 * 9), nn.ELU(), nn.Unflatten(1, (24, 3, 3)),
            nn.ConvTranspose2d(24, 16, 2, stride=2), nn.ELU(),
            nn.ConvTranspose2d(16, 1, 2, stride=2), nn.Sigmoid())

    def forward(self, x):
        return self.up(self.down(x))


def parts(variant):
    torch.manual_seed(0)
    mean, std = (0.5, 0.5) if variant == "bad" else (0.0, 1.0)
    model = TileAutoencoder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(CloudTiles(2500, 1, mean, std), batch_size=32, shuffle=True),
            "val_loader": DataLoader(CloudTiles(400, 2, mean, std), batch_size=100)}


WORKS = lambda score: score > 0.75


def r_squared(model, loader):
    with torch.no_grad():
        pairs = [(model(x), y) for x, y in loader]
    made, real = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    return 1 - ((made - real).pow(2).sum() / (real - real.mean()).pow(2).sum()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        epoch_loss = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * len(x)
        print(f"[{epoch + 1:2d}/20] loss {epoch_loss / len(p['train_loader'].dataset):.5f}  val R2 {r_squared(model, p['val_loader']):.3f}")
    score = r_squared(model, p["val_loader"])
    print(f"score: {score:.4f}")
