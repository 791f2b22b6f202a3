"""Network with ternary weights (-a, 0, a per layer, threshold 0.7 of the mean magnitude) on the digits, trained with straight-through gradients on float master weights; first and last layer stay float. Unusual: the forward pass never uses the parameters themselves in the middle layers."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def ternary(w):
    delta = 0.7 * w.abs().mean()
    mask = (w.abs() > delta).float()
    a = (w.abs() * mask).sum() / mask.sum().clamp(min=1)
    return a * w.sign() * mask


class TernaryConv(nn.Conv2d):
    def forward(self, x):
        w = self.weight + (ternary(self.weight) - self.weight).detach()
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class TernaryLinear(nn.Linear):
    def forward(self, x):
        w = self.weight + (ternary(self.weight) - self.weight).detach()
        return F.linear(x, w, self.bias)


def build():
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        TernaryConv(24, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        TernaryConv(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        TernaryLinear(128, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
        nn.Linear(64, 10))


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    X = torch.tensor(d.images[:, None] / 16, dtype=torch.float32)
    y = torch.tensor(d.target)
    order = torch.randperm(len(X))
    tr, va = order[:1300], order[1300:]
    X = (X - X[tr].mean()) / X[tr].std()
    model = build()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(TensorDataset(X[tr], y[tr]), batch_size=65, shuffle=True),
            "val_loader": DataLoader(TensorDataset(X[va], y[va]), batch_size=250),
            "metric": lambda out, t: (out.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    epochs = 12
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=epochs)
    for epoch in range(epochs):
        net.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        sched.step()
        net.eval()
        with torch.no_grad():
            acc = torch.cat([net(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
        print(f"epoch {epoch + 1}: {total / len(p['train_loader']):.3f}  val {acc:.3f}")
    print("different weights in the first ternary layer:", len(ternary(net[3].weight.detach()).unique()))
    print("score:", acc)
