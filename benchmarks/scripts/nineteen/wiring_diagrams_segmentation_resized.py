"""Segmentation of wiring diagrams (thin coloured wires, 5 classes) whose images and masks are halved in size; the masks too are resized with mode="bilinear" and rounded, which invents classes along every wire. change: mode="nearest" for the masks."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

COLOURS = np.array([[0.5, 0.5, 0.5], [0.9, 0.2, 0.2], [0.2, 0.8, 0.2], [0.2, 0.3, 0.9], [0.9, 0.9, 0.1]])


def draw(n, seed):
    r = np.random.RandomState(seed)
    masks = np.zeros((n, 48, 48), np.int64)
    for m in masks:
        for _ in range(5):
            c, k, w = r.choice([2, 3, 4], p=[0.2, 0.2, 0.6]), r.randint(2, 44), r.randint(2, 4)
            if r.rand() < 0.5:
                m[k:k + w, r.randint(0, 20):r.randint(28, 48)] = c
            else:
                m[r.randint(0, 20):r.randint(28, 48), k:k + w] = c
        i, j = r.randint(0, 40, 2)
        m[i:i + 6, j:j + 6] = 1
    images = COLOURS[masks] + r.normal(0, 0.12, masks.shape + (3,))
    return images.astype(np.float32), masks


class Diagrams(Dataset):
    def __init__(self, images, masks, mode):
        self.images, self.masks, self.mode = images, masks, mode

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        x = torch.from_numpy(self.images[i]).permute(2, 0, 1)[None]
        y = torch.from_numpy(self.masks[i]).float()[None, None]
        x = F.interpolate(x, size=(24, 24), mode="bilinear", align_corners=False)
        y = F.interpolate(y, size=(24, 24), mode=self.mode)
        return x[0], y[0, 0].round().long()


def parts(variant):
    torch.manual_seed(0)
    mode = "bilinear" if variant == "bad" else "nearest"
    train, val = Diagrams(*draw(300, 0), mode), Diagrams(*draw(80, 1), "nearest")
    model = nn.Sequential(nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(),
                          nn.Conv2d(24, 24, 3, padding=2, dilation=2), nn.ReLU(), nn.Conv2d(24, 5, 1))
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "train_loader": DataLoader(train, batch_size=16, shuffle=True), "val_loader": DataLoader(val, batch_size=40)}


def mean_iou(model, loader):
    model.eval()
    inter, union = torch.zeros(5), torch.zeros(5)
    with torch.no_grad():
        for x, y in loader:
            pred = model(x).argmax(1)
            for c in range(5):
                inter[c] += ((pred == c) & (y == c)).sum()
                union[c] += ((pred == c) | (y == c)).sum()
    return (inter / union.clamp(min=1)).mean().item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        p["model"].train()
        losses = []
        for img, mask in p["train_loader"]:
            out = p["model"](img)
            loss = p["loss_fn"](out, mask)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        score = mean_iou(p["model"], p["val_loader"])
        print(f"Epoch {epoch}: loss {sum(losses) / len(losses):.4f}, mIoU {score:.4f}")
    print(f"score: {score:.4f}")
