"""Convolutional classifier of 34 mahjong tiles. The network ends in Softmax and is trained with CrossEntropyLoss, which takes the softmax itself: the gradients are tiny and the loss stays near log(34); the right change: return the logits."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
N_TILES = 34


class TilePhotos(Dataset):
    """Every tile has a face of strokes; photos are shifted, dimmed and noisy."""

    def __init__(self, per_tile, seed):
        faces = np.random.default_rng(7)
        self.faces = np.kron((faces.random((N_TILES, 5, 5)) < 0.45).astype(np.float32), np.ones((1, 3, 3), np.float32))
        rng = np.random.default_rng(seed)
        self.images, self.labels = [], []
        for tile in range(N_TILES):
            for _ in range(per_tile):
                img = np.zeros((20, 20), np.float32)
                dy, dx = rng.integers(0, 6, 2)
                img[dy:dy + 15, dx:dx + 15] = self.faces[tile] * rng.uniform(0.6, 1.0)
                img += rng.normal(0, 0.2, img.shape).astype(np.float32)
                self.images.append((img - 0.25) / 0.4)
                self.labels.append(tile)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return torch.from_numpy(self.images[i])[None], self.labels[i]


class TileNet(nn.Module):
    def __init__(self, softmax):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        head = [nn.Flatten(), nn.Linear(32 * 5 * 5, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, N_TILES)]
        if softmax:
            head.append(nn.Softmax(dim=1))
        self.classifier = nn.Sequential(*head)

    def forward(self, x):
        return self.classifier(self.features(x))


def parts(variant):
    torch.manual_seed(0)
    model = TileNet(softmax=variant == "bad")
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TilePhotos(40, 1), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TilePhotos(12, 2), batch_size=136)}


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(6):
        model.train()
        losses = []
        for images, labels in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(images), labels)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        model.eval()
        hits = total = 0
        with torch.no_grad():
            for images, labels in p["val_loader"]:
                hits += (model(images).argmax(1) == labels).sum().item()
                total += len(labels)
        print(f"[{epoch + 1:2d}/6] loss={np.mean(losses):.4f} val_acc={hits / total:.3f}")
    print("score:", hits / total)
