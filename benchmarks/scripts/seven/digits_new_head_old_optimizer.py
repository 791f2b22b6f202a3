"""Transfer learning: a net trained on digits 0-4 gets a new head for 5-9, the backbone frozen; mistake: the optimizer is made before the head is replaced, so it holds the old head; change: makes the optimizer after."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class DigitNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.ReLU(),
            nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(), nn.Flatten(),
        )
        self.fc = nn.Linear(48 * 16, n_classes)

    def forward(self, x):
        return self.fc(self.backbone(x))


def digits(low, high):
    data = load_digits()
    keep = (data.target >= low) & (data.target < high)
    x = torch.tensor(data.images[keep], dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target[keep] - low, dtype=torch.long)
    return x, y


def pretrained():
    """The model zoo of this script: five classes, a few epochs."""
    x, y = digits(0, 5)
    model = DigitNet(5)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(4):
        for idx in torch.randperm(len(x)).split(32):
            loss = F.cross_entropy(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
    return model


def parts(variant="fixed"):
    torch.manual_seed(4)
    model = pretrained()
    for param in model.backbone.parameters():
        param.requires_grad = False

    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    model.fc = nn.Linear(model.fc.in_features, 5)
    if variant == "fixed":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)

    x, y = digits(5, 10)
    order = torch.randperm(len(x))
    train, val = order[:650], order[650:]
    return {
        "model": model,
        "optimizer": optimizer,
        "train_loader": DataLoader(TensorDataset(x[train], y[train]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[val], y[val]), batch_size=64),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


WORKS = lambda score: score > 0.85


def train_model(model, criterion, optimizer, loaders, num_epochs):
    for epoch in range(num_epochs):
        print(f"Epoch {epoch}/{num_epochs - 1}")
        for phase in ("train", "val"):
            model.train(phase == "train")
            running_loss, running_corrects, seen = 0.0, 0, 0
            for inputs, labels in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += (outputs.argmax(1) == labels).sum().item()
                seen += inputs.size(0)
            print(f"{phase} Loss: {running_loss / seen:.4f} Acc: {running_corrects / seen:.4f}")
    return running_corrects / seen


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    acc = train_model(p["model"], p["loss_fn"], p["optimizer"], {"train": p["train_loader"], "val": p["val_loader"]}, 15)
    print(f"score: {acc:.4f}")
