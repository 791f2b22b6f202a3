"""A CNN pretrained on the digits 0-5 is fine-tuned, all layers, on few pictures of 6-9 after a new head; bad: SGD with lr=0.5 and momentum 0.9, which wrecks the pretrained weights; change: lr=0.005."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class SmallCNN(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128, 64), nn.ReLU())
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.fc(self.backbone(x))


def pretrained(x, y):
    """Stands for a downloaded checkpoint."""
    model = SmallCNN(6)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    for _ in range(8):
        for xb, yb in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(model(xb), yb).backward()
            opt.step()
    return model


def parts(variant):
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16.0
    x = (x - 0.305) / 0.376
    y = torch.tensor(digits.target)
    source = y < 6
    model = pretrained(x[source], y[source])
    model.fc = nn.Linear(model.fc.in_features, 4)

    x, y = x[~source], y[~source] - 6
    order = torch.randperm(len(y))
    train_idx, val_idx = order[:240], order[240:]
    lr = 0.5 if variant == "bad" else 0.005
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(x[train_idx], y[train_idx]), batch_size=16, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[val_idx], y[val_idx]), batch_size=128),
    }


WORKS = lambda score: score > 0.88

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    dataloaders = {"train": p["train_loader"], "val": p["val_loader"]}
    for epoch in range(15):
        stats = {}
        for phase in ["train", "val"]:
            model.train(phase == "train")
            running_loss, running_corrects, seen = 0.0, 0, 0
            for inputs, labels in dataloaders[phase]:
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
            stats[phase] = (running_loss / seen, running_corrects / seen)
        print(f"epoch {epoch}: train loss {stats['train'][0]:.4f} acc {stats['train'][1]:.4f} | "
              f"val loss {stats['val'][0]:.4f} acc {stats['val'][1]:.4f}")
    print(f"score: {stats['val'][1]:.4f}")
