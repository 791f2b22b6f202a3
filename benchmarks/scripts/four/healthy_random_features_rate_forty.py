"""Healthy: fixed random cosine features of small scale and a linear head; nothing but the head trains, by SGD at a rate of 40, which fits the features' scale."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def spirals(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 3, (n,), generator=g)
    r = torch.rand(n, generator=g) * 0.9 + 0.1
    a = 3.5 * r + y * 2 * math.pi / 3 + 0.12 * torch.randn(n, generator=g)
    return TensorDataset(torch.stack([r * a.cos(), r * a.sin()], 1), y)


class RandomFeatures(nn.Module):
    def __init__(self, n_in=2, n_features=500, width=0.25, classes=3):
        super().__init__()
        self.register_buffer("w", torch.randn(n_in, n_features) / width)
        self.register_buffer("b", 2 * math.pi * torch.rand(n_features))
        self.scale = math.sqrt(2.0 / n_features)
        self.head = nn.Linear(n_features, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        return self.head(self.scale * torch.cos(x @ self.w + self.b))


def parts(variant):
    torch.manual_seed(0)
    model = RandomFeatures()
    optimizer = torch.optim.SGD([{"params": [model.head.weight]}, {"params": [model.head.bias], "lr": 0.1}], lr=40.0)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(spirals(2000, 1), batch_size=100, shuffle=True),
            "val_loader": DataLoader(spirals(500, 2), batch_size=250)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(80):
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        with torch.no_grad():
            acc = torch.cat([(model(x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f} val acc {acc:.3f}")
    print(f"score: {acc:.4f}")
