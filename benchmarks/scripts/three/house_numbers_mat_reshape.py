"""House-number crops stored as (H, W, C, N); reshaped to (N, C, H, W), which mixes the pictures; change: the fixed twin transposes the axes."""
import sys
import numpy as np
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


def make_mat(seed=3):
    """Builds the same kind of dict that loadmat gives: X (H, W, C, N) uint8, y (N, 1), where 10 stands for zero."""
    rng = np.random.RandomState(seed)
    digits, target = (t.numpy() for t in load_digits())
    order = rng.permutation(len(target))
    imgs, y = digits[order] / 16.0, target[order]
    imgs = imgs.repeat(2, axis=1).repeat(2, axis=2)
    bg = rng.uniform(0, 90, size=(len(y), 1, 1, 3))
    fg = rng.uniform(120, 255, size=(len(y), 1, 1, 3))
    pic = bg + (fg - bg) * imgs[..., None] + rng.normal(0, 12, size=imgs.shape + (3,))
    X = np.ascontiguousarray(np.clip(pic, 0, 255).astype(np.uint8).transpose(1, 2, 3, 0))
    y = np.where(y == 0, 10, y)[:, None]
    return {"X": X, "y": y}


class ConvNet(nn.Module):
    def __init__(self, n_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, n_classes)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        return self.fc2(self.drop(F.relu(self.fc1(x))))


def parts(variant):
    torch.manual_seed(0)
    mat = make_mat()
    X, y = mat["X"], mat["y"].ravel() % 10
    h, w, c, n = X.shape
    if variant == "bad":
        X = X.reshape(n, c, h, w)
    else:
        X = X.transpose(3, 2, 0, 1)
    X = torch.tensor(np.ascontiguousarray(X), dtype=torch.float32) / 255.0
    X = (X - X.mean()) / X.std()
    y = torch.tensor(y, dtype=torch.long)
    train, test = TensorDataset(X[:1400], y[:1400]), TensorDataset(X[1400:], y[1400:])
    net = ConvNet()
    return {
        "model": net,
        "optimizer": torch.optim.Adam(net.parameters(), lr=2e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(train, batch_size=50, shuffle=True),
        "val_loader": DataLoader(test, batch_size=200),
        "metric": lambda out, t: (out.argmax(1) == t).float().mean().item(),
    }


WORKS = lambda score: score > 0.7


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        net.train()
        total = 0.0
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = crit(net(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item() * len(xb)
        net.eval()
        hits = n = 0
        with torch.no_grad():
            for xb, yb in p["val_loader"]:
                hits += (net(xb).argmax(1) == yb).sum().item()
                n += len(yb)
        print(f"epoch {epoch + 1}: train loss {total / len(p['train_loader'].dataset):.4f}  test acc {hits / n:.4f}")
    print(f"score: {hits / n:.4f}")
