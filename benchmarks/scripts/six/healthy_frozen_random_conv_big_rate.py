"""Healthy: a frozen random convolution (never trained, by design) with a linear head, SGD at lr=8 without momentum; learns digits well (no mistake)."""
import sys

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class RandomFeatures(nn.Module):
    """random filters, as in extreme learning machines; everything but the head is fixed"""

    def __init__(self, channels=96):
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 4)
        nn.init.normal_(self.conv.weight, std=0.7)
        nn.init.uniform_(self.conv.bias, -0.5, 0.5)
        self.conv.requires_grad_(False)
        self.pool = nn.AvgPool2d(2, stride=1)
        self.head = nn.Linear(channels * 16, 10)
        nn.init.zeros_(self.head.weight)

    def train(self, mode=True):
        super().train(mode)
        self.conv.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            h = self.pool(torch.relu(self.conv(x))).flatten(1)
            h = h / h.norm(dim=1, keepdim=True)
        return self.head(h)


def parts(variant="fixed"):
    torch.manual_seed(0)
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(d.target)
    perm = torch.randperm(len(x))
    tr, va = perm[:1300], perm[1300:]
    model = RandomFeatures()
    opt = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=8.0)
    return {"model": model, "optimizer": opt,
            "train_loader": DataLoader(TensorDataset(x[tr], y[tr]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[va], y[va]), batch_size=500),
            "loss_fn": nn.CrossEntropyLoss(), "metric": lambda o, y: (o.argmax(1) == y).float().mean()}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, ce = p["model"], p["optimizer"], p["loss_fn"]
    n_train = sum(q.numel() for q in model.parameters() if q.requires_grad)
    print(f"{n_train} of {sum(q.numel() for q in model.parameters())} parameters are trained")
    for epoch in range(60):
        model.train()
        run = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = ce(model(x), y)
            loss.backward()
            opt.step()
            run += loss.item()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} loss {run / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        acc = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
    print(f"score: {acc:.4f}")
