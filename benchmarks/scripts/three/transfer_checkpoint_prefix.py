"""Transfer to few labelled pictures with a frozen backbone; the checkpoint's keys have a prefix and strict=False loads none of them; change: the fixed twin strips the prefix."""
import sys
import torch
import torch.nn as nn
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


def pictures():
    x, y = load_digits()
    g = torch.Generator().manual_seed(6)
    x = x.unsqueeze(1) / 16
    perm = torch.randperm(len(x), generator=g)
    return x[perm], y[perm], g


def place(x, g):
    """puts each 8x8 digit somewhere on a noisy 14x14 canvas"""
    out = 0.15 * torch.randn(len(x), 1, 14, 14, generator=g)
    off = torch.randint(0, 7, (len(x), 2), generator=g)
    for i, (r, c) in enumerate(off.tolist()):
        out[i, :, r:r + 8, c:c + 8] += x[i]
    return (out - 0.1) / 0.3


def backbone(width=16):
    def cbr(i, o, s):
        return [nn.Conv2d(i, o, 3, stride=s, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
    return nn.Sequential(*cbr(1, width, 1), *cbr(width, width * 2, 2), *cbr(width * 2, width * 2, 1), *cbr(width * 2, width, 2),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Classifier(nn.Module):
    def __init__(self, n_classes, width=16):
        super().__init__()
        self.backbone = backbone(width)
        self.head = nn.Linear(width, n_classes)

    def forward(self, x):
        return self.head(self.backbone(x))


def pretrain(x, y):
    """the upstream model, trained on the large set"""
    model = Classifier(10)
    opt = torch.optim.Adam(model.parameters(), lr=4e-3)
    loader = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=8e-3, total_steps=15 * len(loader))
    for _ in range(15):
        for xb, yb in loader:
            opt.zero_grad()
            nn.functional.cross_entropy(model(xb), yb).backward()
            opt.step()
            sched.step()
    return model.state_dict()


def parts(variant):
    torch.manual_seed(0)
    x, y, g = pictures()
    checkpoint = pretrain(place(x[:1000], g), y[:1000])
    x, y = place(x[1000:], g), y[1000:]

    model = Classifier(10)
    weights = {k: v for k, v in checkpoint.items() if not k.startswith("head.")}
    if variant != "bad":
        weights = {k.replace("backbone.", "", 1): v for k, v in weights.items()}
    model.backbone.load_state_dict(weights, strict=False)
    for q in model.backbone.parameters():
        q.requires_grad = False
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.head.parameters(), lr=1e-2),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(x[:300], y[:300]), batch_size=30, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[300:], y[300:]), batch_size=250),
    }


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        model.train()
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(xb), yb)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in p["val_loader"])
        acc = right / len(p["val_loader"].dataset)
        print(f"epoch {epoch} last loss {loss.item():.4f} val acc {acc:.4f}")
    print(f"score: {acc:.4f}")
