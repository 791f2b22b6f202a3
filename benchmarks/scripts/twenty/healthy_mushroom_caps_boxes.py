"""Sound box regression for one mushroom cap per picture: the head ends in Sigmoid and the loss is a mean squared error, but the boxes (centre, width, height) are fractions of the picture, so both fit; the loss is small from the start."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SIZE = 32


class CapDataset(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        yy, xx = np.mgrid[0:SIZE, 0:SIZE]
        self.items = []
        for _ in range(n):
            a, b = rng.uniform(3, 9), rng.uniform(3, 7)
            cx, cy = rng.uniform(a, SIZE - a), rng.uniform(b, SIZE - b)
            img = rng.uniform(0.15, 0.35) + 0.06 * rng.standard_normal((3, SIZE, SIZE))
            cap = ((xx - cx) / a) ** 2 + ((yy - cy) / b) ** 2 < 1
            img[:, cap] = np.array([0.7, 0.35, 0.2])[:, None] * rng.uniform(0.8, 1.2) + 0.05 * rng.standard_normal((3, cap.sum()))
            box = np.array([cx, cy, 2 * a, 2 * b]) / SIZE
            self.items.append((torch.tensor(img, dtype=torch.float32), torch.tensor(box, dtype=torch.float32)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class BoxNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(32 * 16, 96), nn.ReLU(), nn.Linear(96, 4), nn.Sigmoid())

    def forward(self, images):
        return self.head(self.body(images))


def parts(variant):
    torch.manual_seed(0)
    model = BoxNet()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(CapDataset(1200, 1), batch_size=32, shuffle=True),
        "val_loader": DataLoader(CapDataset(300, 2), batch_size=100),
    }


WORKS = lambda score: score > 0.65  # mean IoU


def mean_iou(model, loader):
    model.eval()
    ious = []
    with torch.no_grad():
        for img, box in loader:
            out = model(img)
            a0, a1 = out[:, :2] - out[:, 2:] / 2, out[:, :2] + out[:, 2:] / 2
            b0, b1 = box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2
            inter = (torch.min(a1, b1) - torch.max(a0, b0)).clamp(min=0).prod(1)
            ious.append(inter / (out[:, 2:].prod(1) + box[:, 2:].prod(1) - inter))
    return torch.cat(ious).mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        model.train()
        total = 0.0
        for img, box in p["train_loader"]:
            loss = p["loss_fn"](model(img), box)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        score = mean_iou(model, p["val_loader"])
        print(f"epoch {epoch:2d} loss {total / len(p['train_loader']):.5f} mean IoU {score:.4f}")
    print(f"score: {score:.4f}")
