"""Find the centre of a cross among distracting discs with a heatmap network and soft-argmax; mistake: the coordinate grids come from meshgrid(indexing="xy") but are unpacked as rows, columns, so every target heatmap is transposed; change: indexing="ij"."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

H = W = 32
SIGMA = 1.5
WORKS = lambda pck: pck > 0.8


def paint(g):
    img = 0.15 * torch.randn(H, W, generator=g)
    row, col = torch.randint(4, H - 4, (2,), generator=g).tolist()
    for _ in range(4):
        r, c = torch.randint(3, H - 3, (2,), generator=g).tolist()
        img[r - 2:r + 3, c - 2:c + 3] += 0.7
    img[row - 3:row + 4, col] = 1.0
    img[row, col - 3:col + 4] = 1.0
    return img[None], torch.tensor([row, col])


class Crosses(Dataset):
    def __init__(self, n, seed, heatmap):
        g = torch.Generator().manual_seed(seed)
        self.items = [paint(g) for _ in range(n)]
        self.heatmap = heatmap

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        img, point = self.items[i]
        return img, self.heatmap(point)


class Gaussian:
    def __init__(self, indexing):
        self.rows, self.cols = torch.meshgrid(torch.arange(H), torch.arange(W), indexing=indexing)

    def __call__(self, point):
        d2 = (self.rows - point[0]) ** 2 + (self.cols - point[1]) ** 2
        return torch.exp(-d2 / (2 * SIGMA ** 2))


class HeatmapNet(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        def block(i, o, dilation=1):
            return nn.Sequential(nn.Conv2d(i, o, 3, padding=dilation, dilation=dilation), nn.GroupNorm(4, o), nn.SiLU())
        self.stem = block(1, c)
        self.body = nn.Sequential(block(c, c), block(c, c, 2), block(c, c, 2))
        self.out = nn.Conv2d(c, 1, 1)
        nn.init.constant_(self.out.bias, -3.0)          # almost everywhere is background

    def forward(self, x):
        x = self.stem(x)
        return self.out(x + self.body(x)).squeeze(1)


def weighted_bce(logits, heat):
    return F.binary_cross_entropy_with_logits(logits, heat, weight=1 + 10 * heat)


def parts(variant="fixed"):
    torch.manual_seed(21)
    heatmap = Gaussian("xy" if variant == "bad" else "ij")
    model = HeatmapNet()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return dict(model=model, optimizer=opt,
                scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=8 * 38, eta_min=1e-5),
                train_loader=DataLoader(Crosses(1216, 1, heatmap), batch_size=32, shuffle=True),
                val_loader=DataLoader(Crosses(256, 2, heatmap), batch_size=64),
                loss_fn=weighted_bce)


@torch.no_grad()
def pck(model, items, radius=2.0):
    """share of the crosses found within two pixels"""
    model.eval()
    imgs = torch.stack([i for i, _ in items])
    points = torch.stack([p for _, p in items])
    peak = model(imgs).flatten(1).argmax(1)
    found = torch.stack([peak // W, peak % W], 1)
    model.train()
    return ((found - points).float().norm(dim=1) <= radius).float().mean().item()


if __name__ == "__main__":
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("variant", nargs="?", default="fixed")
    args = cli.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    for epoch in range(8):
        seen = 0.0
        for img, heat in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](img), heat)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            seen += loss.item()
        score = pck(p["model"], p["val_loader"].dataset.items)
        print(f"epoch {epoch}: bce {seen / len(p['train_loader']):.4f}  PCK@2 {score:.3f}")
    print(f"score: {score:.4f}")
