"""Photos of boomerangs on a table: a small CNN names the throwing hand (left or right) and the direction the elbow points in, as cosine and sine. The loss of the direction is added with .item(), as a plain number, so no gradient reaches its head; the right change: add the tensor itself (loss = hand + 2.0 * direction). The score is the mean cosine between true and given direction."""
import math
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIDE = 20


def photos(n, gen):
    hand = torch.randint(0, 2, (n,), generator=gen)
    angle = 2 * math.pi * torch.rand(n, generator=gen)
    grid = torch.linspace(-1, 1, SIDE)
    yy, xx = torch.meshgrid(grid, grid, indexing="ij")
    image = torch.zeros(n, SIDE, SIDE)
    centre = 0.25 * torch.randn(n, 2, generator=gen).clamp(-1, 1)
    sign = hand.float() * 2 - 1
    for length, turn in ((0.75, 1.0), (0.45, -1.0)):
        direction = angle + sign * turn * 0.95 + 0.05 * torch.randn(n, generator=gen) + math.pi
        dx, dy = torch.cos(direction), torch.sin(direction)
        for s in torch.linspace(0, 1, 7):
            px, py = centre[:, 0] + s * length * dx, centre[:, 1] + s * length * dy
            blob = torch.exp(-((xx - px[:, None, None]) ** 2 + (yy - py[:, None, None]) ** 2) / 0.012)
            image = torch.maximum(image, blob)
    wood = 0.6 + 0.4 * torch.rand(n, 1, 1, generator=gen)
    image = image * wood + 0.12 * torch.randn(n, SIDE, SIDE, generator=gen)
    return image[:, None], hand, torch.stack([angle.cos(), angle.sin()], 1)


class BoomerangNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(24 * 25, 64), nn.ReLU())
        self.hand = nn.Linear(64, 2)
        self.direction = nn.Linear(64, 2)

    def forward(self, x):
        h = self.features(x)
        return self.hand(h), self.direction(h)


def make_training_step(variant):
    def training_step(model, batch):
        image, hand, direction = batch
        hand_logits, given = model(image)
        hand_loss = F.cross_entropy(hand_logits, hand)
        direction_loss = F.mse_loss(given, direction)
        if variant == "bad":
            return hand_loss + 2.0 * direction_loss.item()
        return hand_loss + 2.0 * direction_loss
    return training_step


def parts(variant):
    torch.manual_seed(2)
    gen = torch.Generator().manual_seed(2)
    data = photos(2600, gen)
    model = BoomerangNet()
    return {"model": model,
            "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
            "training_step": make_training_step(variant),
            "train_loader": DataLoader(TensorDataset(*(d[:2200] for d in data)), batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*(d[2200:] for d in data)), batch_size=400)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(8):
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            image, hand, direction = next(iter(p["val_loader"]))
            logits, given = model(image)
            right = (logits.argmax(1) == hand).float().mean().item()
            cosine = F.cosine_similarity(given, direction).mean().item()
        print(f"epoch {epoch}: loss {loss.item():.3f} hand {right:.3f} direction {cosine:.3f}")
    print("score:", cosine)
