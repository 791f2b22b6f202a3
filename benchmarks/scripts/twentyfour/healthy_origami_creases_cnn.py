"""A small CNN with batch norm and global average pooling that names the fold from photos of creased paper (book, gate, diagonal, cross). A sound program: RMSprop at 1e-3, StepLR once an epoch, augmentation on the training part only that keeps the class. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
FOLDS = {"book": 0, "gate": 1, "diagonal": 2, "cross": 3}
SIZE = 24


def paper(fold, rng):
    yy, xx = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    def crease(angle, offset):
        d = xx * np.cos(angle) + yy * np.sin(angle) - offset
        return rng.uniform(0.4, 0.8) * np.exp(-(d / 0.9) ** 2)
    wobble = rng.normal(0, 0.06)
    if fold == 0:
        lines = crease(wobble, rng.normal(0, 1.5))
    elif fold == 1:
        lines = crease(wobble, -5 + rng.normal(0, 0.8)) + crease(wobble, 5 + rng.normal(0, 0.8))
    elif fold == 2:
        lines = crease(rng.choice([1, -1]) * np.pi / 4 + wobble, rng.normal(0, 1.5))
    else:
        lines = crease(np.pi / 4 + wobble, rng.normal(0, 1.5)) + crease(-np.pi / 4 + wobble, rng.normal(0, 1.5))
    light = rng.uniform(-0.02, 0.02) * xx + rng.uniform(-0.02, 0.02) * yy
    return 0.7 + light - lines + rng.normal(0, 0.18, (SIZE, SIZE))


class Papers(Dataset):
    def __init__(self, n, seed, augment=False):
        rng = np.random.default_rng(seed)
        self.labels = torch.as_tensor(rng.integers(0, len(FOLDS), n))
        pictures = np.stack([paper(int(k), rng) for k in self.labels])
        self.pictures = torch.as_tensor((pictures - 0.6) / 0.3, dtype=torch.float32)[:, None]
        self.augment = augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        x = self.pictures[i]
        if self.augment:
            if torch.rand(()) < 0.5:
                x = x.flip(-1)
            if torch.rand(()) < 0.5:
                x = x.flip(-2)
        return x, self.labels[i]


class CreaseNet(nn.Module):
    def __init__(self):
        super().__init__()
        layers, channels = [], 1
        for width in (12, 24, 48):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, len(FOLDS))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def parts(variant):
    torch.manual_seed(0)
    net = CreaseNet()
    opt = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9)
    return {
        "model": net, "optimizer": opt, "loss_fn": nn.CrossEntropyLoss(),
        "scheduler": torch.optim.lr_scheduler.StepLR(opt, step_size=4, gamma=0.3),
        "train_loader": DataLoader(Papers(1200, 31, augment=True), batch_size=32, shuffle=True),
        "val_loader": DataLoader(Papers(400, 32), batch_size=100),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


WORKS = lambda score: score > 0.85


def evaluate(net, p):
    net.eval()
    with torch.no_grad():
        return float(np.mean([p["metric"](net(x), y) for x, y in p["val_loader"]]))


def main():
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(7):
        net.train()
        history = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            history.append(loss.item())
        p["scheduler"].step()
        print(f"epoch {epoch}  lr {opt.param_groups[0]['lr']:.1e}  loss {np.mean(history):.3f}  val {evaluate(net, p):.3f}")
    print("score:", evaluate(net, p))


if __name__ == "__main__":
    main()
