"""Sound: a digit net trained on upright digits is adapted to mirrored ones by low-rank adapters; the optimizer holds the adapters alone and the second factor of each starts at zero. Nothing to change."""
import sys
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Adapted(nn.Module):
    def __init__(self, base, rank=8, alpha=16.0):
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.randn(rank, base.in_features) * base.in_features ** -0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scale * F.linear(F.linear(x, self.down), self.up)


def pretrained(x, y):
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(150):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
    return net.requires_grad_(False)


def parts(variant):
    torch.manual_seed(0)
    digits = load_digits()
    images, y = torch.tensor(digits.images, dtype=torch.float32) / 8 - 1, torch.tensor(digits.target)
    order = torch.randperm(len(y))
    upright, mirrored = images[order[:700]].flatten(1), images[order].flip(2).flatten(1)
    y = y[order]
    net = pretrained(upright, y[:700])
    for i in (0, 2, 4):
        net[i] = Adapted(net[i])
    return {
        "model": net,
        "optimizer": torch.optim.AdamW([q for q in net.parameters() if q.requires_grad], lr=3e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(mirrored[:1400], y[:1400]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(mirrored[1400:], y[1400:]), batch_size=200),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hits = torch.cat([(model(x).argmax(1) == y).float() for x, y in p["val_loader"]])
        score = hits.mean().item()
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
