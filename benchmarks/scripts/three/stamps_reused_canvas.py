"""Digits stamped on a larger canvas; the dataset returns the same canvas tensor each time, so every item of a batch shows the last picture; change: the fixed twin returns a copy."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

def load_digits(n=1797, seed=1797):
    """Small written digits, 8x8 with values 0 to 16: a 5x7 font, turned, stretched, shifted and blurred by hand."""
    font = ["0e11131519110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]
    glyph = torch.tensor([[[int(f[2 * r:2 * r + 2], 16) >> (4 - c) & 1 for c in range(5)] for r in range(7)] for f in font], dtype=torch.float32)
    glyph = nn.functional.pad(glyph, (2, 1, 0, 1))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 10, (n,), generator=g)
    a = 0.15 * torch.randn(n, generator=g)
    s = 1 + 0.12 * torch.randn(n, 2, generator=g)
    t = 0.1 * torch.randn(n, 2, generator=g)
    theta = torch.stack([torch.stack([a.cos() * s[:, 0], -a.sin(), t[:, 0]], 1), torch.stack([a.sin(), a.cos() * s[:, 1], t[:, 1]], 1)], 1)
    x = nn.functional.grid_sample(glyph[y].unsqueeze(1), nn.functional.affine_grid(theta, (n, 1, 8, 8), align_corners=False), align_corners=False)[:, 0]
    x = (x * (0.8 + 0.4 * torch.rand(n, 1, 1, generator=g)) + 0.06 * torch.randn(n, 8, 8, generator=g)).clamp(0, 1) * 16
    return x.round(), y


class Stamps(Dataset):
    """Draws digit i at a random place of the canvas."""

    def __init__(self, images, labels, size=14, copy=True):
        self.images, self.labels, self.copy = images, labels, copy
        self.canvas = torch.zeros(1, size, size)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        room = self.canvas.shape[-1] - 8
        r, c = torch.randint(0, room + 1, (2,)).tolist()
        self.canvas.zero_()
        self.canvas[0, r:r + 8, c:c + 8] = self.images[i]
        self.canvas.sub_(0.15).div_(0.3)
        picture = self.canvas.clone() if self.copy else self.canvas
        return picture, self.labels[i]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
            nn.Conv2d(24, 32, 3, padding=1, stride=2), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU())
        self.classifier = nn.Linear(48, 10)

    def forward(self, x):
        return self.classifier(self.body(x).amax((2, 3)))


def parts(variant):
    torch.manual_seed(0)
    x, y = load_digits()
    x = x / 16
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(13))
    x, y = x[perm], y[perm]
    copy = variant != "bad"
    net = Net()
    return {
        "model": net,
        "optimizer": torch.optim.NAdam(net.parameters(), lr=3e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(Stamps(x[:1400], y[:1400], copy=copy), batch_size=56, shuffle=True),
        "val_loader": DataLoader(Stamps(x[1400:], y[1400:], copy=copy), batch_size=100),
    }


WORKS = lambda score: score > 0.7


def accuracy(net, loader):
    net.eval()
    right, total = 0, 0
    with torch.no_grad():
        for x, y in loader:
            right += int((net(x).argmax(1) == y).sum())
            total += len(y)
    return right / total


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(9):
        net.train()
        running_loss = 0.0
        for i, (inputs, labels) in enumerate(p["train_loader"]):
            opt.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            opt.step()
            running_loss += loss.item()
        acc = accuracy(net, p["val_loader"])
        print("[%d] loss: %.3f acc: %.3f" % (epoch + 1, running_loss / (i + 1), acc))
    print(f"score: {acc:.4f}")
