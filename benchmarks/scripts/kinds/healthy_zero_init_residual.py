"""Healthy: 32 residual blocks without normalisation whose last layers begin at zero, and a zero head: at first most gradients are exactly zero; nothing to change."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.93


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.a, self.b = nn.Linear(d, d), nn.Linear(d, d)
        nn.init.kaiming_normal_(self.a.weight)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)

    def forward(self, x):
        return x + self.b(torch.relu(self.a(x)))


class ResMLP(nn.Module):
    def __init__(self, depth=32, d=64):
        super().__init__()
        self.stem = nn.Linear(64, d)
        self.blocks = nn.Sequential(*[Block(d) for _ in range(depth)])
        self.head = nn.Linear(d, 10)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def parts(variant="fixed"):
    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.data, dtype=torch.float32) / 8 - 1, torch.tensor(d.target)
    i = torch.randperm(len(x))
    x, y = x[i], y[i]
    model = ResMLP()
    opt = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
    train = DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=64, shuffle=True)
    warmup = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1.0, (s + 1) / 100))
    return {"model": model, "optimizer": opt, "scheduler": warmup, "train_loader": train, "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=397),
            "loss_fn": nn.CrossEntropyLoss(), "metric": lambda o, t: (o.argmax(1) == t).float().mean()}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(25):
        p["model"].train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
        p["model"].eval()
        x, y = next(iter(p["val_loader"]))
        with torch.no_grad():
            acc = p["metric"](p["model"](x), y).item()
        if epoch % 4 == 0:
            print(f"epoch {epoch:2d} loss {loss.item():.4f} acc {acc:.3f}")
    print(f"score: {acc:.4f}")
