"""Four-block VGG-like CNN that tells pasta shapes apart in grey pictures; bad: Adam with a rate of 0.1; change: lr=1e-3."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CLASSES = ["ring", "stick", "bow", "shell", "spiral"]
HPARAMS = {"bad": dict(lr=0.1), "fixed": dict(lr=1e-3)}


def draw(kind, size=24):
    lin = torch.linspace(-1, 1, size)
    y, x = torch.meshgrid(lin, lin, indexing="ij")
    a = torch.rand(1).item() * 2 * math.pi
    cx, cy = (torch.rand(2) * 0.4 - 0.2).tolist()
    s = 0.75 + 0.35 * torch.rand(1).item()
    u = ((x - cx) * math.cos(a) + (y - cy) * math.sin(a)) / s
    v = (-(x - cx) * math.sin(a) + (y - cy) * math.cos(a)) / s
    r = torch.sqrt(u * u + v * v)
    if kind == "ring":
        img = ((r - 0.5).abs() < 0.15).float()
    elif kind == "stick":
        img = ((v.abs() < 0.15) & (u.abs() < 0.75)).float()
    elif kind == "bow":
        img = ((v.abs() < 0.1 + 0.6 * u.abs()) & (u.abs() < 0.6)).float()
    elif kind == "shell":
        img = ((r < 0.65) & (v > -0.1)).float()
    else:
        img = ((v - 0.25 * torch.sin(9 * u)).abs() < 0.16).float() * (u.abs() < 0.8)
    return img


def make_set(n):
    labels = torch.randint(0, len(CLASSES), (n,))
    images = torch.stack([draw(CLASSES[k]) for k in labels.tolist()])[:, None]
    images = images + 0.25 * torch.randn_like(images)
    return (images - images.mean()) / images.std(), labels


def block(cin, cout):
    return [nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(cout, cout, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]


class MiniVGG(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Sequential(*block(1, 8), *block(8, 16), *block(16, 32))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 3 * 3, 64), nn.ReLU(inplace=True),
                                        nn.Dropout(0.3), nn.Linear(64, num_classes))

    def forward(self, x):
        return self.classifier(self.features(x))


def parts(variant):
    torch.manual_seed(0)
    hp = HPARAMS[variant]
    x_train, y_train = make_set(1500)
    x_test, y_test = make_set(400)
    model = MiniVGG(len(CLASSES))
    return dict(model=model,
                optimizer=torch.optim.Adam(model.parameters(), lr=hp["lr"]),
                loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(x_test, y_test), batch_size=100))


WORKS = lambda score: score > 0.85


def train_one_epoch(model, loader, criterion, optimizer):
    model.train()
    total = 0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * y.size(0)
    return total / len(loader.dataset)


def test(model, loader):
    model.eval()
    good = 0
    with torch.no_grad():
        for x, y in loader:
            good += (model(x).argmax(1) == y).sum().item()
    return good / len(loader.dataset)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(1, 11):
        loss = train_one_epoch(p["model"], p["train_loader"], p["loss_fn"], p["optimizer"])
        score = test(p["model"], p["val_loader"])
        print(f"epoch {epoch}: loss={loss:.4f} acc={score:.4f}")
    print(f"score: {score:.4f}")
