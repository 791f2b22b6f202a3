"""To which of three arms of a spiral galaxy does a star belong; bad: the residual blocks are functools.partial objects that carry their layers, so parameters() does not have them. change: the blocks are modules in an nn.ModuleList."""
import sys
from functools import partial
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def stars(n, seed, arms=3):
    g = torch.Generator().manual_seed(seed)
    arm = torch.randint(0, arms, (n,), generator=g)
    r = torch.rand(n, generator=g).sqrt() * 0.9 + 0.1
    angle = 2 * torch.pi * arm / arms + 10.0 * r + 0.12 * torch.randn(n, generator=g)
    xy = torch.stack([r * angle.cos(), r * angle.sin()], 1)
    return TensorDataset(xy * 1.8, arm)


def residual(h, norm, up, down):
    return h + down(torch.relu(up(norm(h))))


class Residual(nn.Module):
    def __init__(self, norm, up, down):
        super().__init__()
        self.norm, self.up, self.down = norm, up, down

    def forward(self, h):
        return residual(h, self.norm, self.up, self.down)


class ArmNet(nn.Module):
    def __init__(self, make, holder, dim=12, depth=3):
        super().__init__()
        self.lift = nn.Linear(2, dim)
        self.blocks = holder([make(norm=nn.LayerNorm(dim), up=nn.Linear(dim, 2 * dim), down=nn.Linear(2 * dim, dim)) for _ in range(depth)])
        self.head = nn.Linear(dim, 3)

    def forward(self, xy):
        h = self.lift(xy)
        for block in self.blocks:
            h = block(h)
        return self.head(h)


def parts(variant):
    torch.manual_seed(0)
    model = ArmNet(partial(partial, residual), list) if variant == "bad" else ArmNet(Residual, nn.ModuleList)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(stars(2500, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(stars(600, 2), batch_size=300),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        total = 0.0
        for xy, arm in p["train_loader"]:
            loss = p["loss_fn"](model(xy), arm)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hits = torch.cat([(model(xy).argmax(1) == arm).float() for xy, arm in p["val_loader"]])
        score = hits.mean().item()
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
