"""Segmentation of runways; the pictures go from (H, W, 3) to (3, W, H) by transpose(2, 1, 0), so they lie across their masks. change: transpose(2, 0, 1)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader


def airfield(rng):
    rr, cc = np.mgrid[0:32, 0:32]
    angle, off = rng.uniform(0, np.pi), rng.uniform(-7, 7)
    dist = (rr - 16) * np.cos(angle) + (cc - 16) * np.sin(angle) - off
    mask = np.abs(dist) < rng.uniform(2, 4)
    img = rng.normal(0.4, 0.12, (32, 32, 3)) + mask[..., None] * np.array([0.25, 0.25, 0.3])
    return img.astype("float32"), mask


class Airfields(Dataset):
    def __init__(self, n, seed, axes):
        rng = np.random.default_rng(seed)
        self.samples = [airfield(rng) for _ in range(n)]
        self.axes = axes

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, idx):
        img, mask = self.samples[idx]
        img = (img - 0.45) / 0.2
        return torch.from_numpy(img.transpose(self.axes).copy()), torch.from_numpy(mask.astype("int64"))


class FCN(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        layers, i = [], 3
        for dilation in (1, 2, 4, 1):
            layers += [nn.Conv2d(i, width, 3, padding=dilation, dilation=dilation), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            i = width
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        return self.classifier(self.body(x))


def parts(variant):
    torch.manual_seed(0)
    axes = (2, 1, 0) if variant == "bad" else (2, 0, 1)
    model = FCN()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Airfields(400, 1, axes), batch_size=16, shuffle=True),
            "val_loader": DataLoader(Airfields(80, 2, axes), batch_size=20)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        epoch_loss = 0
        for img, mask in p["train_loader"]:
            out = model(img)
            loss = p["loss_fn"](out, mask)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            epoch_loss += loss.item()
        print(f"epoch {epoch} loss {epoch_loss / len(p['train_loader']):.4f}")
    model.eval()
    inter = union = 0
    with torch.no_grad():
        for img, mask in p["val_loader"]:
            pred = model(img).argmax(1)
            inter += ((pred == 1) & (mask == 1)).sum().item()
            union += ((pred == 1) | (mask == 1)).sum().item()
    print(f"score: {inter / union:.4f}")
