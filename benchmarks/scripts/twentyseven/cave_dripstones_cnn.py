"""Names dripstones on cave photographs: stalactite, stalagmite, soda straw, broomstick (thick or thin, hanging or standing).
The random mirroring of the training photographs turns them upside down, and with it hanging into standing, while the label stays; the right change: mirror left to right (flip over the columns, dim 3)."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NAMES = ["stalactite", "stalagmite", "soda straw", "broomstick"]


def photograph_caves(n, seed, size=32):
    g = torch.Generator().manual_seed(seed)

    def uniform(lo, hi):
        return lo + (hi - lo) * torch.rand(n, 1, 1, generator=g)

    label = torch.randint(0, 4, (n,), generator=g)
    standing = (label % 2 == 1).view(n, 1, 1)
    thin = (label >= 2).view(n, 1, 1)
    yy, xx = torch.meshgrid(torch.arange(size).float(), torch.arange(size).float(), indexing="ij")
    ceiling = (yy < uniform(3, 6) + torch.sin(xx / 3 + uniform(0, 6))).float()
    floor = (yy > size - 1 - uniform(3, 6) + torch.sin(xx / 3 + uniform(0, 6))).float()
    depth = torch.where(standing, size - 1 - yy, yy)
    length, width = uniform(12, 22), torch.where(thin, uniform(1.2, 2.0), uniform(3.5, 6.0))
    taper = torch.where(thin, torch.ones(n, 1, 1), (1 - depth / length).clamp(min=0))
    stone = ((xx - uniform(8, 24)).abs() < width * taper) & (depth < length)
    rock = torch.maximum(torch.maximum(ceiling, floor), stone.float())
    lamp = torch.exp(-((xx - uniform(0, 32)) ** 2 + (yy - uniform(0, 32)) ** 2) / 500)
    images = (0.2 + 0.6 * rock) * (0.4 + lamp) + 0.12 * torch.randn(n, size, size, generator=g)
    return (images.unsqueeze(1) - 0.45) / 0.3, label


class MirroredBatches:
    """Wraps a loader; mirrors about half of the photographs of each batch."""

    def __init__(self, loader, dim):
        self.loader, self.dim = loader, dim

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for images, labels in self.loader:
            chosen = torch.rand(len(images), 1, 1, 1) < 0.5
            yield torch.where(chosen, images.flip(self.dim), images), labels


def build_net(width=16):
    layers, cin = [], 1
    for cout in (width, 2 * width, 2 * width):
        layers += [nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout), nn.ReLU(), nn.MaxPool2d(2)]
        cin = cout
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(cin * 16, len(NAMES)))


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item()


def parts(variant):
    torch.manual_seed(30)
    model = build_net()
    loader = DataLoader(TensorDataset(*photograph_caves(900, 1)), batch_size=30, shuffle=True)
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4),
            "train_loader": MirroredBatches(loader, dim=2 if variant == "bad" else 3),
            "val_loader": DataLoader(TensorDataset(*photograph_caves(300, 2)), batch_size=300)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(6):
        net.train()
        running = 0.0
        for images, labels in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(images), labels)
            loss.backward()
            opt.step()
            running += loss.item() / len(p["train_loader"])
        net.eval()
        with torch.no_grad():
            images, labels = next(iter(p["val_loader"]))
            score = p["metric"](net(images), labels)
        print(f"epoch {epoch}: loss {running:.3f}, val accuracy {score:.3f}")
    print("score:", score)
