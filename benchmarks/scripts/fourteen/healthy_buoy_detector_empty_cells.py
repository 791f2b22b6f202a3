"""One-stage detector of buoys in sea pictures: an 8 x 8 grid, about 2 % of the cells hold a buoy, plain unweighted BCE on the objectness and a box loss on the occupied cells only; random flips of picture and grid together; sound. Score: F1 of cells at 0.5, counted only where the centre is right to a quarter of a cell."""
import random
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

SIZE, GRID, CELL = 40, 8, 5


class SeaPictures(Dataset):
    def __init__(self, n, seed, flips):
        g = torch.Generator().manual_seed(seed)
        axis = torch.arange(SIZE).float() + 0.5
        yy, xx = torch.meshgrid(axis, axis, indexing="ij")
        self.items, self.flips = [], flips
        for _ in range(n):
            r = torch.rand(4, generator=g)
            sea = torch.tensor([0.15, 0.35, 0.45])[:, None, None] + 0.06 * torch.sin(yy * (0.5 + r[0]) + xx * 0.3 + 6 * r[1])
            img = sea + 0.05 * torch.randn(3, SIZE, SIZE, generator=g)
            centres = []
            for _ in range(int(r[2] * 3)):
                c = 3 + (SIZE - 6) * torch.rand(2, generator=g)
                rad = 1.5 + torch.rand(1, generator=g)
                disc = torch.sigmoid(3 * (rad - ((xx - c[0]) ** 2 + (yy - c[1]) ** 2).sqrt()))
                img = img * (1 - disc) + disc * torch.tensor([0.85, 0.4, 0.1])[:, None, None]
                centres.append(c)
            self.items.append((img, centres))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        img, centres = self.items[i]
        if self.flips and random.random() < 0.5:
            img = img.flip(-1)
            centres = [torch.stack([SIZE - c[0], c[1]]) for c in centres]
        grid = torch.zeros(3, GRID, GRID)
        for c in centres:
            col, row = int(c[0] // CELL), int(c[1] // CELL)
            grid[0, row, col] = 1
            grid[1, row, col], grid[2, row, col] = c[0] / CELL - col, c[1] / CELL - row
        return (img - 0.35) / 0.2, grid


def make_detector():
    def block(a, b, stride):
        return nn.Sequential(nn.Conv2d(a, b, 3, stride=stride, padding=1), nn.BatchNorm2d(b), nn.ReLU())
    return nn.Sequential(block(3, 16, 1), nn.Conv2d(16, 32, 5, stride=5), nn.BatchNorm2d(32), nn.ReLU(), block(32, 32, 1), nn.Conv2d(32, 3, 1))


def detection_loss(out, grid):
    obj = grid[:, 0]
    confidence = F.binary_cross_entropy_with_logits(out[:, 0], obj)
    offset = ((torch.sigmoid(out[:, 1:]) - grid[:, 1:]) ** 2).sum(1)
    return confidence + (offset * obj).sum() / obj.sum().clamp(min=1)


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    model = make_detector()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), loss_fn=detection_loss,
                train_loader=DataLoader(SeaPictures(800, 1, True), batch_size=32, shuffle=True),
                val_loader=DataLoader(SeaPictures(200, 2, False), batch_size=100))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for img, grid in p["train_loader"]:
            optimizer.zero_grad()
            loss = detection_loss(model(img), grid)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f}")
    model.eval()
    good = found = true = 0
    with torch.no_grad():
        for img, grid in p["val_loader"]:
            out = model(img)
            hit = out[:, 0] > 0
            near = ((torch.sigmoid(out[:, 1:]) - grid[:, 1:]).norm(dim=1) < 0.25) & (grid[:, 0] > 0)
            good, found, true = good + (hit & near).sum().item(), found + hit.sum().item(), true + int(grid[:, 0].sum())
    print(f"score: {2 * good / max(found + true, 1):.4f}")
