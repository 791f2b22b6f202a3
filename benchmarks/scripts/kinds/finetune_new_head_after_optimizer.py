"""Transfer of a frozen CNN to new digit classes: the optimizer is made for model.fc before model.fc is replaced; change: `fixed` makes the optimizer after the replacement."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.85


class SmallNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten())
        self.fc = nn.Linear(32 * 16, n_classes)

    def forward(self, x):
        return self.fc(self.features(x))


def digits_of(lo, hi):
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    y = torch.tensor(d.target)
    keep = (y >= lo) & (y < hi)
    return x[keep], y[keep] - lo


def pretrain(model, epochs=4):
    x, y = digits_of(0, 5)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()
    return model


def parts(variant):
    torch.manual_seed(0)
    model = pretrain(SmallNet(5))

    # feature extraction: only the classifier is trained on the new classes
    for p in model.parameters():
        p.requires_grad = False
    for p in model.fc.parameters():
        p.requires_grad = True
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01, momentum=0.9)
    model.fc = nn.Linear(model.fc.in_features, 5)
    if variant == "fixed":
        optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01, momentum=0.9)

    x, y = digits_of(5, 10)
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    train = DataLoader(TensorDataset(x[:700], y[:700]), batch_size=16, shuffle=True)
    val = DataLoader(TensorDataset(x[700:], y[700:]), batch_size=128)
    return {"model": model, "optimizer": optimizer, "train_loader": train, "val_loader": val, "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda o, t: (o.argmax(1) == t).float().mean()}


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return right / len(loader.dataset)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(12):
        model.train()
        epoch_loss = 0
        for inputs, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * len(inputs)
        print(f"Epoch {epoch}/11  loss {epoch_loss / 700:.4f}  val acc {evaluate(model, p['val_loader']):.4f}")
    print("score:", round(evaluate(model, p["val_loader"]), 4))
