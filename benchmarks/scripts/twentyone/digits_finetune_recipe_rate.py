"""A net trained on the digits 0 to 4 is fine-tuned on a few images of the digits 5 to 9; the mistake (bad): the rate of 0.2 is that of the recipe for training from scratch on large batches; change: 0.01."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def digits(classes):
    x, y = load_digits(return_X_y=True)
    keep = np.isin(y, classes)
    x = torch.tensor(x[keep] / 16.0, dtype=torch.float32).view(-1, 1, 8, 8)
    y = torch.tensor(y[keep] - min(classes))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(y)))
    return x[order], y[order]


class SmallNet(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.s1 = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.s2 = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(64 * 4, classes)

    def forward(self, x):
        return self.head(self.s2(self.s1(self.stem(x))).flatten(1))


def pretrained_state():
    x, y = digits([0, 1, 2, 3, 4])
    net = SmallNet()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(6):
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True):
            opt.zero_grad()
            nn.functional.cross_entropy(net(xb), yb).backward()
            opt.step()
    return {"epoch": 6, "model_state": net.state_dict()}


def parts(variant):
    torch.manual_seed(0)
    checkpoint = pretrained_state()
    model = SmallNet()
    model.load_state_dict(checkpoint["model_state"])
    nn.init.normal_(model.head.weight, std=0.01)
    nn.init.zeros_(model.head.bias)

    cfg = {"BASE_LR": 0.2 if variant == "bad" else 0.01, "MOMENTUM": 0.9, "NESTEROV": True, "WEIGHT_DECAY": 5e-5,
           "BATCH": 16}
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["BASE_LR"], momentum=cfg["MOMENTUM"],
                                nesterov=cfg["NESTEROV"], weight_decay=cfg["WEIGHT_DECAY"])
    x, y = digits([5, 6, 7, 8, 9])
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(x[:200], y[:200]), batch_size=cfg["BATCH"], shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[200:], y[200:]), batch_size=100),
    }


WORKS = lambda score: score > 0.85  # accuracy on the new digits

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(20):
        model.train()
        epoch_loss = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            epoch_loss += loss.item()
        print(f"epoch {epoch + 1:2d} loss {epoch_loss / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"])
    print(f"score: {right / len(p['val_loader'].dataset):.4f}")
