"""Depth from two images of a room: a coarse map is refined in two stages, each with a loss of its own; the mistake (bad): the losses of the two stages are put into the metrics but not added to the total, so the stages are never trained; change: loss += after each stage."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def rooms(n, seed, size=24):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    depth = 2 + 1.5 * yy.expand(n, -1, -1) * torch.rand(n, 1, 1, generator=g)
    for _ in range(4):  # boxes that stand in the room
        cx, cy = torch.rand(2, n, 1, 1, generator=g)
        w, h = 0.1 + 0.2 * torch.rand(2, n, 1, 1, generator=g)
        near = 0.5 + 1.5 * torch.rand(n, 1, 1, generator=g)
        depth = torch.where(((xx - cx).abs() < w) & ((yy - cy).abs() < h), near, depth)
    shade = 1 / depth + 0.02 * torch.randn(depth.shape, generator=g)
    edge = torch.randn(depth.shape, generator=g) * 0.1 + depth * 0.3
    return TensorDataset(torch.stack([shade, edge], 1), depth[:, None])


class Refine(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1), nn.ReLU(),
                                 nn.Conv2d(c, 1, 3, padding=1))

    def forward(self, feats, depth):
        return depth + self.net(torch.cat([feats, depth], 1))


class DepthNet(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.coarse = nn.Sequential(nn.Conv2d(2, c, 3, 2, 1), nn.ReLU(), nn.Conv2d(c, c, 3, 2, 1), nn.ReLU(),
                                    nn.Conv2d(c, 1, 3, padding=1))
        self.refine_half = Refine()
        self.refine_full = Refine()

    def forward(self, x):
        quarter = self.coarse(x)
        half = self.refine_half(F.avg_pool2d(x, 2), F.interpolate(quarter, scale_factor=2).detach())
        full = self.refine_full(x, F.interpolate(half, scale_factor=2).detach())
        return quarter, half, full


def parts(variant):
    torch.manual_seed(0)
    model = DepthNet()
    metrics = {}

    def training_step(model, batch):
        x, depth = batch
        quarter, half, full = model(x)
        loss = F.l1_loss(quarter, F.interpolate(depth, size=quarter.shape[-2:]))
        loss_half = F.l1_loss(half, F.interpolate(depth, size=half.shape[-2:]))
        loss_full = F.l1_loss(full, depth)
        metrics.update(half=loss_half.item(), full=loss_full.item())
        if variant != "bad":
            loss = loss + loss_half
            loss = loss + loss_full
        return loss

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(rooms(800, 1), batch_size=20, shuffle=True),
            "val_loader": DataLoader(rooms(100, 2), batch_size=50), "metrics": metrics}


WORKS = lambda score: score < 0.15  # mean absolute error of the full map in metres

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}", {k: round(v, 3) for k, v in p["metrics"].items()})
    model.eval()
    with torch.no_grad():
        err = torch.cat([(model(x)[2] - d).abs().flatten(1).mean(1) for x, d in p["val_loader"]])
    print(f"score: {err.mean().item():.4f}")
