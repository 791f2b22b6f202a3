"""Sound transfer learning: the pretrained body is frozen (requires_grad False) and stays in eval mode while the model is in train mode; the optimizer is given all the parameters, and those of the body never get a gradient, which is meant."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def body():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten())


class TransferNet(nn.Module):
    def __init__(self, backbone, n_features, n_classes):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Linear(n_features, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, n_classes))
        for param in self.backbone.parameters():
            param.requires_grad = False

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        return self.head(self.backbone(x))


def pretrain(x, y):
    net = nn.Sequential(body(), nn.Linear(192, 10))
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(6):
        for xb, yb in DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True):
            opt.zero_grad()
            nn.functional.cross_entropy(net(xb), yb).backward()
            opt.step()
    return net[0]


def parts(variant):
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    y = torch.tensor(digits.target)
    perm = torch.randperm(len(x))
    x, y = x[perm], y[perm]
    backbone = pretrain(x[:900], y[:900])
    # the new task: negatives, is the digit even
    x2, y2 = -x[900:], (y[900:] % 2 == 0).long()
    model = TransferNet(backbone, 192, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(x2[:600], y2[:600]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x2[600:], y2[600:]), batch_size=100),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    trainable = sum(q.numel() for q in model.parameters() if q.requires_grad)
    print(f"trainable parameters: {trainable} of {sum(q.numel() for q in model.parameters())}")
    for epoch in range(20):
        model.train()
        running = 0.0
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            opt.step()
            running += loss.item() * len(yb)
        model.eval()
        with torch.no_grad():
            good = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in p["val_loader"])
        score = good / len(p["val_loader"].dataset)
        print(f"epoch {epoch + 1}: loss {running / 600:.4f}, val acc {score:.4f}")
    print(f"score: {score:.4f}")
