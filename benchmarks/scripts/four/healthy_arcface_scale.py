"""Healthy: ArcFace on noisy digits, scale 30 and an angular margin: the loss starts near 20 and not near ln 10, frozen random first layer, SGD at 0.05."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


FONT = ["0e11111111110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]


def glyphs(n, seed):
    """Digits of a 5 x 7 font on 8 x 8 pixels, somewhere, strokes of unequal ink, smeared and speckled."""
    rng = np.random.RandomState(seed)
    y = rng.randint(0, 10, n)
    x = np.zeros((n, 8, 8), dtype=np.float32)
    for i, k in enumerate(y):
        rows = [int(FONT[k][2 * r:2 * r + 2], 16) for r in range(7)]
        bits = np.array([[(b >> (4 - c)) & 1 for c in range(5)] for b in rows], dtype=np.float32)
        dy, dx = rng.randint(0, 2), rng.randint(0, 4)
        x[i, dy:dy + 7, dx:dx + 5] = bits * rng.uniform(0.6, 1.0, bits.shape)
    smear = rng.uniform(0, 0.3, (n, 1, 1)).astype(np.float32)
    x = (1 - smear) * x + smear * np.roll(x, 1, axis=2)
    return np.clip(x + 0.08 * rng.randn(n, 8, 8), 0, 1).astype(np.float32), y.astype(np.int64)


class CosineClassifier(nn.Module):
    def __init__(self, dim, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, dim))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, e):
        return F.linear(F.normalize(e), F.normalize(self.weight))


class FaceNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1)
        nn.init.orthogonal_(self.stem.weight.view(32, 9))
        self.stem.requires_grad_(False)
        self.body = nn.Sequential(nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.embedding = nn.Sequential(nn.Linear(256, 32), nn.BatchNorm1d(32))
        self.head = CosineClassifier(32, 10)

    def forward(self, x):
        return self.head(self.embedding(self.body(self.stem(x))))


def arcface(cosine, target, s=30.0, m=0.4):
    theta = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
    one = F.one_hot(target, cosine.shape[1]).bool()
    return F.cross_entropy(s * torch.where(one, torch.cos(theta + m), cosine), target)


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, y = (torch.from_numpy(a) for a in glyphs(1800, 30))
    x = 2 * x[:, None] - 1 + 0.3 * torch.randn(len(x), 1, 8, 8, generator=torch.Generator().manual_seed(2))
    net = FaceNet()
    opt = torch.optim.SGD([q for q in net.parameters() if q.requires_grad], lr=0.05, momentum=0.9, weight_decay=5e-4)
    return {"model": net, "optimizer": opt, "loss_fn": arcface, "scheduler": torch.optim.lr_scheduler.MultiStepLR(opt, [10, 14], 0.1),
            "train_loader": DataLoader(TensorDataset(x[:1350], y[:1350]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1350:], y[1350:]), batch_size=450),
            "metric": lambda out, t: (out.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(16):
        net.train()
        s = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            s.append(loss.item())
        p["scheduler"].step()
        net.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch:2d} first loss {s[0]:.3f} mean loss {np.mean(s):.3f} val {acc:.4f}")
    print(f"score: {acc:.4f}")
