"""A network trained on digits is adapted to rotated, inverted digits with low-rank adapters, healthy: nearly all weights are frozen and the adapters' B starts at zero; no mistake."""
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda acc: acc > 0.85


class LoRALinear(nn.Module):
    def __init__(self, base, rank=4, alpha=8):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.randn(rank, base.in_features) / rank ** 0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.A.t()) @ self.B.t()


def backbone():
    return nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 10))


def accuracy(out, y):
    return (out.argmax(1) == y).float().mean()


def pretrain(net, x, y, epochs=15):
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(epochs):
        for idx in torch.randperm(len(x)).split(64):
            opt.zero_grad()
            nn.functional.cross_entropy(net(x[idx]), y[idx]).backward()
            opt.step()
    return net


def parts(variant="fixed"):
    torch.manual_seed(9)
    d = load_digits()
    img = torch.tensor(d.images, dtype=torch.float32) / 16
    y = torch.tensor(d.target)
    order = torch.randperm(len(y))
    img, y = img[order], y[order]
    net = pretrain(backbone(), img[:700].flatten(1), y[:700])
    for i in (0, 2, 4):
        net[i] = LoRALinear(net[i])
    shifted = 1 - torch.rot90(img, 1, (1, 2)).flatten(1)
    trainable = [q for q in net.parameters() if q.requires_grad]
    n_all = sum(q.numel() for q in net.parameters())
    print(f"training {sum(q.numel() for q in trainable)} of {n_all} parameters")
    return {"model": net, "optimizer": torch.optim.AdamW(trainable, lr=3e-3, weight_decay=0.0),
            "train_loader": DataLoader(TensorDataset(shifted[700:1400], y[700:1400]), 32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(shifted[1400:], y[1400:]), 397),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(30):
        net.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        net.eval()
        with torch.no_grad():
            acc = accuracy(*[(net(x), y) for x, y in p["val_loader"]][0]).item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} loss {loss.item():.4f} accuracy {acc:.3f}")
    print("score:", round(acc, 4))
