"""Transfer learning from digits 0-4 to 5-9 with a frozen backbone; the optimizer is made before the head is replaced, so it holds the old head and the new one never moves; change: `fixed` makes it after."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.8      # accuracy on held-out 5..9
LR = 5e-3


def split(low, high):
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32)[:, None] / 8 - 1
    y = torch.tensor(d.target)
    keep = (y >= low) & (y <= high)
    x, y = x[keep], y[keep] - low
    cut = int(0.75 * len(x))
    return TensorDataset(x[:cut], y[:cut]), TensorDataset(x[cut:], y[cut:])


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)
        self.c2, self.b2 = nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c)

    def forward(self, x):
        h = torch.relu(self.b1(self.c1(x)))
        return torch.relu(x + self.b2(self.c2(h)))


class TinyResNet(nn.Module):
    def __init__(self, n_class=5, c=24):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.ReLU())
        self.layer1, self.layer2 = Block(c), Block(c)
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.fc = nn.Linear(c * 9, n_class)

    def forward(self, x):
        return self.fc(self.pool(self.layer2(self.layer1(self.stem(x)))).flatten(1))


def pretrain(model, epochs=5):
    loader = DataLoader(split(0, 4)[0], 32, shuffle=True)
    opt, ce = torch.optim.Adam(model.parameters(), 2e-3), nn.CrossEntropyLoss()
    for _ in range(epochs):
        for x, y in loader:
            opt.zero_grad()
            ce(model(x), y).backward()
            opt.step()
    return model


def parts(variant):
    torch.manual_seed(6)
    model = pretrain(TinyResNet())
    for p in model.parameters():
        p.requires_grad = False
    head = nn.Linear(model.fc.in_features, 5)
    if variant == "bad":
        optimizer = torch.optim.Adam(model.parameters(), lr=LR)
        model.fc = head
    else:
        model.fc = head
        optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    train, test = split(5, 9)
    return {"model": model, "optimizer": optimizer,
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(test, batch_size=64),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


def run_epoch(p, phase):
    model, total, correct, n = p["model"], 0.0, 0, 0
    model.train(phase == "train")
    for inputs, labels in p["train_loader" if phase == "train" else "val_loader"]:
        p["optimizer"].zero_grad()
        with torch.set_grad_enabled(phase == "train"):
            outputs = model(inputs)
            loss = p["loss_fn"](outputs, labels)
            if phase == "train":
                loss.backward()
                p["optimizer"].step()
        total += loss.item() * len(inputs)
        correct += (outputs.argmax(1) == labels).sum().item()
        n += len(inputs)
    print(f"{phase} Loss: {total / n:.4f} Acc: {correct / n:.4f}")
    return correct / n


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        print(f"Epoch {epoch}/14")
        run_epoch(p, "train")
        acc = run_epoch(p, "val")
    print(f"score: {acc:.4f}")
