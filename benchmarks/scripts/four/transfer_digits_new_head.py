"""Transfer learning on digits: the new head is assigned to .fc while the network's head is called .classifier, so it is never used; change: assign it to .classifier."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits

NUM_CLASSES = 10


class SmallVGG(nn.Module):
    def __init__(self, num_classes=20):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Linear(48 * 4, num_classes)

    def forward(self, x):
        x = self.features(x)
        return self.classifier(torch.flatten(x, 1))


def load_images():
    d = load_digits()
    x = (torch.tensor(d.images, dtype=torch.float32) / 16 - 0.3) / 0.37
    y = torch.tensor(d.target)
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(7))
    return x[perm].unsqueeze(1), y[perm]


def get_pretrained():
    """Source task: upright digits are classes 0..9, upside-down ones 10..19."""
    x, y = load_images()
    x, y = x[:700], y[:700]
    x = torch.cat([x, x.flip(2)])
    y = torch.cat([y, y + 10])
    net = SmallVGG(20)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(5):
        for xb, yb in DataLoader(TensorDataset(x, y), 64, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()
    return net


def parts(variant):
    torch.manual_seed(0)
    model = get_pretrained()
    for p in model.features.parameters():
        p.requires_grad = False

    # the target task: the same digits, lying on their side
    if variant == "bad":
        model.fc = nn.Linear(48 * 4, NUM_CLASSES)
        head = model.fc
    else:
        model.classifier = nn.Linear(48 * 4, NUM_CLASSES)
        head = model.classifier
    optimizer = torch.optim.Adam(head.parameters(), lr=5e-3)

    x, y = load_images()
    x = x.transpose(2, 3).contiguous()
    train = TensorDataset(x[700:1450], y[700:1450])
    val = TensorDataset(x[1450:], y[1450:])
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(val, batch_size=128)}


WORKS = lambda score: score > 0.8


def accuracy(model, loader):
    model.eval()
    hits = n = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
            n += len(y)
    return hits / n


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f} val acc {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
