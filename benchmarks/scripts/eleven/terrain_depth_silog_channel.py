"""Depth map of a scene from its shaded image by a small U-shaped net, NAdam, scale-invariant log loss (Eigen et al.); the net gives (B, 1, H, W), the depth maps are stored as (B, H, W), and every prediction is compared with every scene of the batch; change: the maps get their channel."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

H = W = 24


def terrain(n, seed):
    g = torch.Generator().manual_seed(seed)
    v, u = torch.meshgrid(torch.linspace(-1, 1, H), torch.linspace(-1, 1, W), indexing="ij")
    depth = torch.full((n, H, W), 6.0)
    for _ in range(3):
        cx, cy = (torch.rand(2, n, 1, 1, generator=g) * 1.6 - 0.8)
        height = 1.0 + 2.0 * torch.rand(n, 1, 1, generator=g)
        width = 0.15 + 0.3 * torch.rand(n, 1, 1, generator=g)
        hill = 6.0 - height * (1.3 - ((u - cx) ** 2 + (v - cy) ** 2) / width ** 2).clamp(0, 1)
        depth = torch.minimum(depth, hill)
    fog = torch.exp(-0.35 * (depth - 2.0))                       # far things are grey
    slope = F.pad(depth[:, :, 1:] - depth[:, :, :-1], (0, 1))
    image = torch.stack([fog, slope], 1) + 0.05 * torch.randn(n, 2, H, W, generator=g)
    return image, depth


class Terrain(Dataset):
    def __init__(self, n, seed, keep_channel, stats=None):
        self.image, self.depth = terrain(n, seed)
        self.stats = stats or (self.image.mean((0, 2, 3), keepdim=True), self.image.std((0, 2, 3), keepdim=True))
        self.image = (self.image - self.stats[0]) / self.stats[1]
        if keep_channel:
            self.depth = self.depth.unsqueeze(1)

    def __len__(self):
        return len(self.image)

    def __getitem__(self, i):
        return self.image[i], self.depth[i]


class DepthNet(nn.Module):
    def __init__(self, c=16):
        super().__init__()
        block = lambda a, b: nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.SiLU())
        self.top, self.mid, self.deep = block(2, c), block(c, 2 * c), block(2 * c, 2 * c)
        self.up, self.out = block(4 * c, c), block(2 * c, c)
        self.head = nn.Conv2d(c, 1, 1)

    def forward(self, x):
        a = self.top(x)
        b = self.mid(F.avg_pool2d(a, 2))
        d = self.deep(F.avg_pool2d(b, 2))
        y = self.up(torch.cat([F.interpolate(d, scale_factor=2), b], 1))
        y = self.out(torch.cat([F.interpolate(y, scale_factor=2), a], 1))
        return F.softplus(self.head(y)) + 0.1


def silog(pred, target, lam=0.5):
    d = pred.log() - target.log()
    return (d ** 2).mean() - lam * d.mean() ** 2 + 0.1 * d.mean() ** 2


def within_five_percent(pred, target):
    pred, target = pred.reshape(len(pred), -1), target.reshape(len(target), -1)
    return (torch.maximum(pred / target, target / pred) < 1.05).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    keep = variant != "bad"
    train = Terrain(800, 1, keep)
    val = Terrain(200, 2, keep, train.stats)
    net = DepthNet()
    return {
        "model": net,
        "optimizer": torch.optim.NAdam(net.parameters(), lr=3e-3),
        "loss_fn": silog,
        "metric": within_five_percent,
        "train_loader": DataLoader(train, batch_size=16, shuffle=True),
        "val_loader": DataLoader(val, batch_size=50),
    }


WORKS = lambda score: score > 0.75


def validate(net, loader):
    net.eval()
    with torch.no_grad():
        scores = [within_five_percent(net(image), depth) for image, depth in loader]
    return sum(scores) / len(scores)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        running = 0.0
        for image, depth in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](net(image), depth)
            loss.backward()
            optimizer.step()
            running += loss.item()
        print(f"[{epoch}] silog {running / len(p['train_loader']):.4f}  d<1.05 {validate(net, p['val_loader']):.3f}")
    print(f"score: {validate(net, p['val_loader']):.4f}")
