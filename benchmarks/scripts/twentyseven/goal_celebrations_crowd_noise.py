"""Single-shot temporal detector: marks start and end of the goal celebration in the crowd-noise curve of a stadium (32 s at 10 frames per second), with anchors of three durations on a time axis counted in frames.
The anchor durations are left in seconds while centres and labelled spans are in frames, so no anchor ever overlaps a celebration enough and all of them are background; the right change: durations in frames (DURATIONS * FPS)."""
import sys
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
FPS, FRAMES, STEP = 10, 320, 8
DURATIONS = torch.tensor([3.0, 5.5, 9.0])


def make_matches(n, seed):
    """Noise level curves; celebrations last 3 to 10 s, chants are shorter bursts."""
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(FRAMES).float()
    length = (3 + 7 * torch.rand(n, 1, generator=g)) * FPS
    start = torch.rand(n, 1, generator=g) * (FRAMES - length)
    inside = torch.sigmoid((t - start) / 1.5) * torch.sigmoid((start + length - t) / 1.5)
    level = 0.4 * torch.sin(t / 25 + 6.28 * torch.rand(n, 1, generator=g)) + inside * (1.2 + 0.6 * torch.rand(n, 1, generator=g))
    high = 0.8 * inside
    for _ in range(2):
        centre = FRAMES * torch.rand(n, 1, generator=g)
        level = level + 1.2 * torch.exp(-((t - centre) / 5) ** 2)
    curves = torch.stack([level, high], 1) + 0.3 * torch.randn(n, 2, FRAMES, generator=g)
    return TensorDataset(curves, torch.cat([start, start + length], 1))


@dataclass
class Anchors:
    spans: torch.Tensor          # (A, 2): centre, width

    @classmethod
    def tile(cls, widths):
        centre = torch.arange(STEP / 2, FRAMES, STEP)
        grid = torch.stack([centre.repeat_interleave(len(widths)), widths.repeat(len(centre))], 1)
        return cls(grid)

    def overlap(self, truth):
        lo, hi = self.spans[:, 0] - self.spans[:, 1] / 2, self.spans[:, 0] + self.spans[:, 1] / 2
        inter = (torch.minimum(hi, truth[:, 1:]) - torch.maximum(lo, truth[:, :1])).clamp(min=0)
        return inter / (self.spans[:, 1] + (truth[:, 1:] - truth[:, :1]) - inter)

    def encode(self, truth):
        centre, width = truth.mean(1, keepdim=True), truth[:, 1:] - truth[:, :1]
        return torch.stack([(centre - self.spans[:, 0]) / self.spans[:, 1], (width / self.spans[:, 1]).log()], -1)

    def decode(self, deltas):
        centre = self.spans[:, 0] + deltas[..., 0] * self.spans[:, 1]
        width = self.spans[:, 1] * deltas[..., 1].clamp(-3, 3).exp()
        return torch.stack([centre - width / 2, centre + width / 2], -1)


class Spotter(nn.Module):
    def __init__(self, per_place=3, width=24):
        super().__init__()
        layers, cin = [], 2
        for stride in (2, 2, 2):
            layers += [nn.Conv1d(cin, width, 5, stride, 2), nn.BatchNorm1d(width), nn.ReLU()]
            cin = width
        for dilation in (2, 4):
            layers += [nn.Conv1d(width, width, 3, 1, dilation, dilation), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv1d(width, 3 * per_place, 1)

    def forward(self, curves):
        out = self.head(self.body(curves)).transpose(1, 2)
        out = out.reshape(len(curves), -1, 3)
        return out[..., 0], out[..., 1:]


def make_loss(anchors):
    def loss_fn(output, truth):
        score, deltas = output
        positive = anchors.overlap(truth) >= 0.5
        weight = torch.where(positive, 8.0, 1.0)
        cls = F.binary_cross_entropy_with_logits(score, positive.float(), weight=weight)
        loc = F.smooth_l1_loss(deltas, anchors.encode(truth), reduction="none").sum(-1)
        return cls + (loc * positive).sum() / positive.sum().clamp(min=1)
    loss_fn.anchors = anchors
    return loss_fn


def parts(variant):
    torch.manual_seed(4)
    widths = DURATIONS if variant == "bad" else DURATIONS * FPS
    model = Spotter(len(widths))
    return {"model": model, "loss_fn": make_loss(Anchors.tile(widths)),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4),
            "train_loader": DataLoader(make_matches(1500, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(make_matches(400, 2), batch_size=400)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, anchors = p["model"], p["loss_fn"].anchors
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(p["optimizer"], 12)
    for epoch in range(12):
        model.train()
        for curves, truth in p["train_loader"]:
            loss = p["loss_fn"](model(curves), truth)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        sched.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        curves, truth = next(iter(p["val_loader"]))
        score, deltas = model(curves)
        best = anchors.decode(deltas)[torch.arange(len(curves)), score.argmax(1)]
        inter = (torch.minimum(best[:, 1], truth[:, 1]) - torch.maximum(best[:, 0], truth[:, 0])).clamp(min=0)
        iou = inter / ((best[:, 1] - best[:, 0]) + (truth[:, 1] - truth[:, 0]) - inter)
    print("score:", (iou > 0.5).float().mean().item())
