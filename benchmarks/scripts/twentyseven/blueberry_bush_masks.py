"""Segmentation of ripe blueberries on photographs of bushes; photographs and masks come from two zip archives.
Each archive is read in the order in which its members happen to be listed (the order in which the exporting workers finished), so photographs are paired with other photographs' masks; the right change: sort the names of both archives (sorted(archive.namelist()))."""
import io
import sys
import zipfile

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SIZE = 32


def grow_bush(rng):
    yy, xx = np.mgrid[:SIZE, :SIZE]
    leaf = 0.35 + 0.15 * np.sin(xx * rng.uniform(0.2, 0.6) + yy * rng.uniform(0.2, 0.6) + rng.uniform(0, 6))
    photo = np.stack([0.5 * leaf, leaf, 0.4 * leaf], -1)
    mask = np.zeros((SIZE, SIZE), bool)
    for _ in range(rng.integers(2, 7)):
        cx, cy, radius, ripe = rng.uniform(3, SIZE - 3), rng.uniform(3, SIZE - 3), rng.uniform(2.5, 4.5), rng.random() < 0.65
        berry = (xx - cx) ** 2 + (yy - cy) ** 2 < radius ** 2
        photo[berry] = [0.25, 0.25, 0.6] if ripe else [0.5, 0.65, 0.4]
        mask = (mask | berry) if ripe else (mask & ~berry)
    photo = photo + 0.1 * rng.standard_normal(photo.shape)
    return (255 * photo.clip(0, 1)).astype(np.uint8), mask.astype(np.uint8)


def export(n, seed):
    """Writes photographs and masks to two archives, as the labelling platform does."""
    rng = np.random.default_rng(seed)
    bushes = [grow_bush(rng) for _ in range(n)]
    files = []
    for kind in (0, 1):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for i in rng.permutation(n):
                archive.writestr(f"bush_{i:04d}.raw", bushes[i][kind].tobytes())
        files.append(buffer)
    return files


def names_of(archive, in_order):
    return sorted(archive.namelist()) if in_order else archive.namelist()


class BushPhotos(Dataset):
    def __init__(self, photo_file, mask_file, in_order):
        with zipfile.ZipFile(photo_file) as archive:
            photos = [np.frombuffer(archive.read(name), np.uint8).reshape(SIZE, SIZE, 3) for name in names_of(archive, in_order)]
        with zipfile.ZipFile(mask_file) as archive:
            masks = [np.frombuffer(archive.read(name), np.uint8).reshape(SIZE, SIZE) for name in names_of(archive, in_order)]
        self.photos = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).float() / 255
        self.masks = torch.from_numpy(np.stack(masks)).float()

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, i):
        return self.photos[i] - 0.4, self.masks[i]


class BerryNet(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(),
                                  nn.Conv2d(2 * width, width, 3, padding=1), nn.ReLU())
        self.out = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, x):
        a = self.down(x)
        b = F.interpolate(self.deep(a), scale_factor=2)
        return self.out(torch.cat([a, b], 1)).squeeze(1)


def iou(logits, masks):
    guess, truth = logits > 0, masks > 0.5
    return ((guess & truth).sum() / (guess | truth).sum().clamp(min=1)).item()


def parts(variant):
    torch.manual_seed(1)
    in_order = variant != "bad"
    model = BerryNet()
    return {"model": model, "loss_fn": nn.BCEWithLogitsLoss(), "metric": iou,
            "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "train_loader": DataLoader(BushPhotos(*export(600, 10), in_order), batch_size=20, shuffle=True),
            "val_loader": DataLoader(BushPhotos(*export(150, 20), in_order), batch_size=150)}


WORKS = lambda score: score > 0.65

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(6):
        model.train()
        for photo, mask in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(photo), mask)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            photo, mask = next(iter(p["val_loader"]))
            score = p["metric"](model(photo), mask)
        print(f"epoch {epoch}: loss {loss.item():.3f}, IoU {score:.3f}")
    print("score:", score)
