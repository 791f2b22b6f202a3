"""A small vision transformer says on which side of the ring the cross lies; the module that adds the learned positions is called and its answer thrown away, so the patches are a bag; change: its answer is kept."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

G, P = 5, 5                                          # a 5 by 5 grid of patches of 5 pixels


def scenes(n, seed):
    g = torch.Generator().manual_seed(seed)
    cross = torch.zeros(P, P)
    cross[2], cross[:, 2] = 1, 1
    ring = torch.ones(P, P)
    ring[1:4, 1:4] = 0
    x, y = 0.3 * torch.randn(n, 1, G * P, G * P, generator=g), torch.zeros(n, dtype=torch.long)
    i = 0
    while i < n:
        a, b, c, d = torch.randint(0, G, (4,), generator=g).tolist()
        if abs(a - c) == abs(b - d):
            continue
        x[i, 0, a * P:a * P + P, b * P:b * P + P] += cross
        x[i, 0, c * P:c * P + P, d * P:d * P + P] += ring
        y[i] = (0 if a < c else 1) if abs(a - c) > abs(b - d) else (2 if b < d else 3)
        i += 1
    return (x - 0.04) / 0.36, y


class Positions(nn.Module):
    def __init__(self, length, d):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, length, d) * 0.2)

    def forward(self, z):
        return z + self.table


class ViT(nn.Module):
    def __init__(self, keep, d=48):
        super().__init__()
        self.patch = nn.Conv2d(1, d, P, stride=P)
        self.cls = nn.Parameter(torch.randn(1, 1, d) * 0.2)
        self.positions = Positions(G * G + 1, d)
        layer = nn.TransformerEncoderLayer(d, 4, 96, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.head = nn.Linear(d, 4)
        self.keep = keep

    def forward(self, x):
        z = self.patch(x).flatten(2).transpose(1, 2)
        z = torch.cat([self.cls.expand(len(x), -1, -1), z], dim=1)
        if self.keep:
            z = self.positions(z)
        else:
            self.positions(z)
        return self.head(self.encoder(z)[:, 0])


def parts(variant):
    torch.manual_seed(0)
    model = ViT(keep=variant == "fixed")
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=0.01),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*scenes(4000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*scenes(600, 2)), batch_size=300),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return torch.cat([(model(x).argmax(1) == y).float() for x, y in loader]).mean().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(6):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
