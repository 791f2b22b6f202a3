"""CNN for eight kinds of glazed tile; the recipe's weight_decay=0.1 was written for AdamW but is given to Adam, where it is an L2 term inside the adaptive gradient and outweighs the loss, so the weights shrink to nothing and the network answers with one constant; the right change: AdamW (or a far smaller decay)."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def tiles(n, seed, size=20):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:size, 0:size]
    y = rng.integers(0, 8, n)
    x = np.empty((n, 1, size, size))
    for i, c in enumerate(y):
        p, q = rng.uniform(0, 2 * np.pi, 2)
        f = rng.uniform(0.9, 1.2)
        pat = [np.sin(f * xx + p), np.sin(f * yy + p), np.sin(f * (xx + yy) * 0.7 + p), np.sin(f * (xx - yy) * 0.7 + p),
               np.sin(f * xx + p) * np.sin(f * yy + q), np.sin(f * np.hypot(xx - 10, yy - 10) + p),
               np.sin(f * xx + 2 * np.sin(0.6 * yy + q)), np.sign(np.sin(0.5 * f * xx + p) * np.sin(0.5 * f * yy + q))][c]
        x[i, 0] = rng.uniform(0.5, 1) * pat + rng.normal(0, 0.5, (size, size))
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


class TileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 16, 3, padding=1)
        self.c2 = nn.Conv2d(16, 32, 3, padding=1)
        self.c3 = nn.Conv2d(32, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(32 * 25, 64)
        self.fc2 = nn.Linear(64, 8)

    def forward(self, x):
        x = self.pool(torch.relu(self.c1(x)))
        x = self.pool(torch.relu(self.c2(x)))
        x = torch.relu(self.c3(x))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = TileNet()
    make = torch.optim.Adam if variant == "bad" else torch.optim.AdamW
    return {"model": model, "optimizer": make(model.parameters(), lr=1e-3, weight_decay=0.1), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(tiles(2400, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(tiles(600, 1), batch_size=300), "metric": accuracy}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    for epoch in range(14):
        net.train()
        hist = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            p["optimizer"].step()
            hist.append(loss.item())
        net.eval()
        with torch.no_grad():
            acc = np.mean([accuracy(net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(hist):.3f} acc {acc:.3f}")
    print("score:", acc)
