"""Small grid detector: finds life rafts on aerial photographs of the sea, one prediction (raft or not, offset x, offset y) per cell of 8 x 8 pixels.
The target grid is filled at [x cell, y cell] although the output map of the convolutions lies as [row, column], so every raft is asked for at the place mirrored along the diagonal; the right change: index the target grid with the row first (grid[:, row, col])."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE, STRIDE = 48, 8
CELLS = SIZE // STRIDE


def paint_sea(n_rafts, gen):
    """One photograph with its raft centres (x, y) in pixels."""
    yy, xx = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")
    tilt, phase = torch.rand(2, generator=gen)
    waves = 0.15 * torch.sin(0.5 * xx * (0.5 + tilt) + 0.4 * yy + 6.3 * phase)
    image = torch.stack([0.1 + waves, 0.3 + waves, 0.5 + waves])
    image += 0.08 * torch.randn(image.shape, generator=gen)
    cells = torch.randperm(CELLS * CELLS, generator=gen)[:n_rafts]
    centres = torch.stack([cells % CELLS, cells // CELLS], 1) * STRIDE + 1 + 6 * torch.rand(n_rafts, 2, generator=gen)
    for x, y in centres:
        radius = 1.8 + 1.2 * torch.rand(1, generator=gen)
        disc = torch.sigmoid(3 * (radius - ((xx - x) ** 2 + (yy - y) ** 2).sqrt()))
        colour = torch.tensor([0.9, 0.45, 0.1]).view(3, 1, 1)
        image = image * (1 - disc) + colour * disc
    return image, centres


class RaftPhotos(Dataset):
    def __init__(self, n, seed, row_major):
        gen = torch.Generator().manual_seed(seed)
        self.row_major = row_major
        self.items = [paint_sea(int(torch.randint(1, 5, (1,), generator=gen)), gen) for _ in range(n)]

    def __len__(self):
        return len(self.items)

    def encode(self, centres):
        grid = torch.zeros(3, CELLS, CELLS)
        for x, y in centres.tolist():
            col, row = int(x // STRIDE), int(y // STRIDE)
            cell = torch.tensor([1.0, x / STRIDE - col, y / STRIDE - row])
            if self.row_major:
                grid[:, row, col] = cell
            else:
                grid[:, col, row] = cell
        return grid

    def __getitem__(self, index):
        image, centres = self.items[index]
        return image, self.encode(centres)


def conv(cin, cout, stride):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU())


def build_detector():
    return nn.Sequential(conv(3, 12, 2), conv(12, 24, 2), conv(24, 32, 2), nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, 3, 1))


def grid_loss(output, target):
    found = target[:, 0]
    objectness = F.binary_cross_entropy_with_logits(output[:, 0], found, pos_weight=torch.tensor(4.0))
    offset = ((output[:, 1:].sigmoid() - target[:, 1:]) ** 2).sum(1)
    return objectness + (offset * found).sum() / found.sum().clamp(min=1)


def decode(output):
    keep = output[0].sigmoid() > 0.5
    row, col = keep.nonzero(as_tuple=True)
    off = output[1:, row, col].sigmoid()
    return torch.stack([(col + off[0]) * STRIDE, (row + off[1]) * STRIDE], 1)


def f1_within(model, photos, radius=3.0):
    hits = guesses = rafts = 0
    for image, centres in photos.items:
        points = decode(model(image[None])[0])
        hits += int((torch.cdist(centres, points) < radius).any(1).sum()) if len(points) else 0
        guesses, rafts = guesses + len(points), rafts + len(centres)
    return 2 * hits / (guesses + rafts)


def parts(variant):
    torch.manual_seed(3)
    row_major = variant != "bad"
    train, val = RaftPhotos(800, 1, row_major), RaftPhotos(200, 2, row_major)
    model = build_detector()
    return {"model": model, "loss_fn": grid_loss,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=1e-3),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True), "val_loader": DataLoader(val, batch_size=100)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(9):
        model.train()
        for images, grids in p["train_loader"]:
            loss = p["loss_fn"](model(images), grids)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        print("score:", f1_within(model, p["val_loader"].dataset))
