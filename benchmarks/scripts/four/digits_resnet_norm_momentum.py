"""Residual network on raw 0..255 digits: BatchNorm momentum 1e-4 (a decay of 0.9999 brought from TensorFlow), so the running statistics stay at their start and eval mode fails; change: momentum 0.1."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits
from functools import partial


class Block(nn.Module):
    def __init__(self, cin, cout, stride, norm):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        self.bn1 = norm(cout)
        self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        self.bn2 = norm(cout)
        self.short = nn.Sequential()
        if stride != 1 or cin != cout:
            self.short = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), norm(cout))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.short(x))


class ResNet8(nn.Module):
    def __init__(self, num_classes=10, bn_momentum=0.1, bn_eps=1e-3):
        super().__init__()
        norm = partial(nn.BatchNorm2d, momentum=bn_momentum, eps=bn_eps)
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, 1, 1, bias=False), norm(12), nn.ReLU())
        self.layers = nn.Sequential(Block(12, 12, 1, norm), Block(12, 24, 2, norm), Block(24, 48, 2, norm))
        self.fc = nn.Linear(48, num_classes)

    def forward(self, x):
        return self.fc(self.layers(self.stem(x)).mean((2, 3)))


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) * 255 / 16
    y = torch.tensor(d.target)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(1))
    x, y = x[order], y[order]
    model = ResNet8(bn_momentum=1e-4 if variant == "bad" else 0.1)
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(x[:1437], y[:1437]), batch_size=32, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(x[1437:], y[1437:]), batch_size=120)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        model.train()
        right = n = 0
        for x, y in p["train_loader"]:
            out = model(x)
            loss = crit(out, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            right += (out.argmax(1) == y).sum().item()
            n += len(y)
        model.eval()
        with torch.no_grad():
            val = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / len(p["val_loader"].dataset)
        print(f"epoch {epoch}: train acc {right / n:.3f}, val acc {val:.3f}")
    print(f"score: {val:.4f}")
