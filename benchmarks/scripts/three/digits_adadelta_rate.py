"""Digits with Adadelta at lr=0.001 as another framework has it by default; change: the fixed twin leaves lr at 1.0."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

def load_digits(n=1797, seed=1797):
    """Small written digits, 8x8 with values 0 to 16: a 5x7 font, turned, stretched, shifted and blurred by hand."""
    font = ["0e11131519110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]
    glyph = torch.tensor([[[int(f[2 * r:2 * r + 2], 16) >> (4 - c) & 1 for c in range(5)] for r in range(7)] for f in font], dtype=torch.float32)
    glyph = nn.functional.pad(glyph, (2, 1, 0, 1))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 10, (n,), generator=g)
    a = 0.15 * torch.randn(n, generator=g)
    s = 1 + 0.12 * torch.randn(n, 2, generator=g)
    t = 0.1 * torch.randn(n, 2, generator=g)
    theta = torch.stack([torch.stack([a.cos() * s[:, 0], -a.sin(), t[:, 0]], 1), torch.stack([a.sin(), a.cos() * s[:, 1], t[:, 1]], 1)], 1)
    x = nn.functional.grid_sample(glyph[y].unsqueeze(1), nn.functional.affine_grid(theta, (n, 1, 8, 8), align_corners=False), align_corners=False)[:, 0]
    x = (x * (0.8 + 0.4 * torch.rand(n, 1, 1, generator=g)) + 0.06 * torch.randn(n, 8, 8, generator=g)).clamp(0, 1) * 16
    return x.round(), y


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 32, 3)
        self.c2 = nn.Conv2d(32, 32, 3)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.c1(x))
        x = F.dropout(F.max_pool2d(F.relu(self.c2(x)), 2), 0.25, self.training)
        x = F.dropout(F.relu(self.fc1(x.flatten(1))), 0.3, self.training)
        return F.log_softmax(self.fc2(x), dim=1)


def parts(variant):
    torch.manual_seed(0)
    X, y = load_digits()
    X = (X / 16.0).unsqueeze(1)
    a, b, ya, yb = X[:1440], X[1440:], y[:1440], y[1440:]
    make = lambda u, v, shuffle: DataLoader(TensorDataset(u, v), batch_size=32, shuffle=shuffle)
    model = Model()
    lr = 0.001 if variant == "bad" else 1.0
    return {"model": model, "optimizer": torch.optim.Adadelta(model.parameters(), lr=lr, rho=0.95), "loss_fn": F.nll_loss,
            "train_loader": make(a, ya, True), "val_loader": make(b, yb, False)}


WORKS = lambda score: score > 0.8


def train(model, loader, optimizer, loss_fn, epoch):
    model.train()
    total = 0
    for data, target in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(data), target)
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(f"Train epoch {epoch}: loss {total / len(loader):.4f}", end="  ")


def test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in loader:
            correct += model(data).argmax(1).eq(target).sum().item()
    acc = correct / len(loader.dataset)
    print(f"test accuracy {acc:.4f}")
    return acc


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(1, 13):
        train(p["model"], p["train_loader"], p["optimizer"], p["loss_fn"], epoch)
        acc = test(p["model"], p["val_loader"])
    print(f"score: {acc:.4f}")
