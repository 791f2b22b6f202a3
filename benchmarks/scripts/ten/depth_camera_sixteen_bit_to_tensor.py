"""Place and height of the object under a depth camera by a CNN, SGD with Nesterov momentum; to_tensor divides by 255 only images of 8 bits (as torchvision's does) and the camera's have 16, so the net gets millimetres, 400 to 1,100, and is NaN within a few steps; change: the depth is normalised."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SIZE = 24


def to_tensor(image):
    t = torch.from_numpy(image[None].astype(np.float32))
    return t / 255 if image.dtype == np.uint8 else t


class ToTensor:
    def __call__(self, image):
        return to_tensor(image)


class DepthToTensor:
    """millimetres to about zero mean and spread one, by the range of the bin"""

    def __call__(self, image):
        return (to_tensor(image) - 900.0) / 120.0


class BinPicking(Dataset):
    """A box on the floor of a bin 1 m below the camera: (column, row, height), each standardised."""

    def __init__(self, n, seed, transform):
        rng = np.random.default_rng(seed)
        self.transform = transform
        half = rng.integers(2, 5, n)
        centre = rng.integers(5, SIZE - 5, (n, 2))
        height = rng.uniform(80, 400, n)
        depth = 1000 + rng.normal(0, 8, (n, SIZE, SIZE)) + rng.uniform(-60, 60, (n, 1, 1))
        for d, h, (r, c), up in zip(depth, half, centre, height):
            d[r - h:r + h + 1, c - h:c + h + 1] -= up
        self.depth = depth.astype(np.uint16)
        target = np.column_stack([(centre - 11.5) / 4.0, (height - 240) / 92.4])
        self.target = torch.tensor(target, dtype=torch.float32)

    def __len__(self):
        return len(self.depth)

    def __getitem__(self, i):
        return self.transform(self.depth[i]), self.target[i]


def network():
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(24 * 36, 64), nn.ReLU(), nn.Linear(64, 3),
    )


def r2(output, target):
    return (1 - (output - target).square().mean() / target.square().mean()).item()


def parts(variant):
    torch.manual_seed(0)
    transform = ToTensor() if variant == "bad" else DepthToTensor()
    model = network()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(BinPicking(1600, 1, transform), batch_size=32, shuffle=True),
        "val_loader": DataLoader(BinPicking(300, 2, transform), batch_size=100),
        "metric": r2,
    }


@torch.no_grad()
def validate(model, loader):
    model.eval()
    out, ref = zip(*[(model(depth), target) for depth, target in loader])
    model.train()
    return r2(torch.cat(out), torch.cat(ref))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        seen = 0.0
        for depth, target in p["train_loader"]:
            optimizer.zero_grad()
            out = model(depth)
            loss = criterion(out, target)
            loss.backward()
            optimizer.step()
            seen += loss.item() / len(p["train_loader"])
        print(f"epoch {epoch + 1:02d} | loss {seen:.4f} | R2 {validate(model, p['val_loader']):.3f}")
    value = validate(model, p["val_loader"])
    print(f"score: {value:.4f}")
