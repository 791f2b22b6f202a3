"""Sound segmentation of rivers with batches of four: the gradients of four batches are accumulated on purpose, the loss divided by four, and step and zero_grad come on every fourth batch."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ACCUM_STEPS = 4


def aerial(n, seed, size=32):
    rng = np.random.default_rng(seed)
    x = np.arange(size)
    rows = np.arange(size)[:, None]
    imgs, masks = [], []
    for _ in range(n):
        centre = size / 2 + rng.uniform(-6, 6) + rng.uniform(2, 6) * np.sin(x * rng.uniform(0.1, 0.3) + rng.uniform(0, 6))
        mask = np.abs(rows - centre[None]) < rng.uniform(2, 4)
        if rng.random() < 0.5:
            mask = mask.T
        field = rng.uniform(0.4, 0.6) + 0.1 * np.sin(rows * 0.7 + rng.uniform(0, 6)) + 0.12 * rng.standard_normal((size, size))
        water = 0.3 + 0.06 * rng.standard_normal((size, size))
        imgs.append(np.where(mask, water, field))
        masks.append(mask)
    X = (torch.tensor(np.array(imgs), dtype=torch.float32)[:, None] - 0.45) / 0.15
    return TensorDataset(X, torch.tensor(np.array(masks), dtype=torch.long))


class FCN(nn.Module):
    def __init__(self, n_classes=2):
        super().__init__()
        self.enc1 = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU())
        self.enc2 = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.GroupNorm(4, 32), nn.ReLU())
        self.enc3 = nn.Sequential(nn.Conv2d(32, 32, 3, padding=2, dilation=2), nn.GroupNorm(4, 32), nn.ReLU())
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.classifier = nn.Conv2d(48, n_classes, 1)

    def forward(self, x):
        e1 = self.enc1(x)
        deep = self.up(self.enc3(self.enc2(e1)))
        return self.classifier(torch.cat([e1, deep], 1))


criterion = nn.CrossEntropyLoss()
calls = {"n": 0}


def step(model, batch, optimizer):
    images, masks = batch
    loss = criterion(model(images), masks)
    (loss / ACCUM_STEPS).backward()
    calls["n"] += 1
    if calls["n"] % ACCUM_STEPS == 0:
        optimizer.step()
        optimizer.zero_grad()
    return loss


def parts(variant):
    torch.manual_seed(0)
    calls["n"] = 0
    model = FCN()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3), "step": step,
            "train_loader": DataLoader(aerial(400, 1), batch_size=4, shuffle=True),
            "val_loader": DataLoader(aerial(80, 2), batch_size=20)}


WORKS = lambda score: score > 0.75  # IoU of the river

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(10):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        model.eval()
        inter = union = 0
        with torch.no_grad():
            for images, masks in p["val_loader"]:
                pred = model(images).argmax(1)
                inter += ((pred == 1) & (masks == 1)).sum().item()
                union += ((pred == 1) | (masks == 1)).sum().item()
        score = inter / max(union, 1)
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} IoU {score:.4f}")
    print(f"score: {score:.4f}")
