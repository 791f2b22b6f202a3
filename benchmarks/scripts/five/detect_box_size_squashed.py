"""One-object detector on a 4x4 grid (YOLO style) on noisy 32x32 images; mistake: the sigmoid is applied to the log-size channels too, so no box can be smaller than the anchor; change: only x and y get the sigmoid."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

GRID, SIZE, ANCHOR = 4, 32, 12.0
CELL = SIZE / GRID
WORKS = lambda score: score > 0.6


def render(n, seed):
    g = torch.Generator().manual_seed(seed)
    wh = torch.rand(n, 2, generator=g) * 10 + 4                  # 4 .. 14 pixels
    cxy = torch.rand(n, 2, generator=g) * (SIZE - wh) + wh / 2
    ax = torch.arange(SIZE) + 0.5
    inx = (ax[None] - cxy[:, :1]).abs() < wh[:, :1] / 2
    iny = (ax[None] - cxy[:, 1:]).abs() < wh[:, 1:] / 2
    img = (iny[:, :, None] & inx[:, None, :]).float() * (0.6 + 0.4 * torch.rand(n, 1, 1, generator=g))
    img = img + 0.25 * torch.randn(n, SIZE, SIZE, generator=g)
    return img.unsqueeze(1), torch.cat([cxy, wh], 1)


class TinyYolo(nn.Module):
    """Per cell: x, y (inside the cell), log w, log h (relative to the anchor), objectness logit."""

    def __init__(self, squash):
        super().__init__()
        self.squash = squash
        layers, c = [], 1
        for out in (16, 32, 64):
            layers += [nn.Conv2d(c, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(0.1), nn.MaxPool2d(2)]
            c = out
        self.body = nn.Sequential(*layers, nn.Conv2d(64, 64, 3, padding=1), nn.LeakyReLU(0.1))
        self.head = nn.Conv2d(64, 5, 1)

    def forward(self, x):
        p = self.head(self.body(x)).permute(0, 2, 3, 1)          # B, gy, gx, 5
        geo, obj = p[..., :4], p[..., 4]
        geo = torch.cat([geo[..., :self.squash].sigmoid(), geo[..., self.squash:]], -1)
        return geo, obj


def yolo_loss(pred, boxes):
    geo, obj = pred
    b = torch.arange(len(boxes))
    gx, gy = (boxes[:, 0] / CELL).long().clamp(0, GRID - 1), (boxes[:, 1] / CELL).long().clamp(0, GRID - 1)
    t_obj = torch.zeros_like(obj)
    t_obj[b, gy, gx] = 1.0
    t_xy = boxes[:, :2] / CELL - torch.stack([gx, gy], 1)
    t_wh = torch.log(boxes[:, 2:] / ANCHOR)
    own = geo[b, gy, gx]
    return F.binary_cross_entropy_with_logits(obj, t_obj) + F.mse_loss(own[:, :2], t_xy) * 2 + F.mse_loss(own[:, 2:], t_wh)


def decode(pred):
    geo, obj = pred
    best = obj.flatten(1).argmax(1)
    gy, gx = best // GRID, best % GRID
    own = geo[torch.arange(len(best)), gy, gx]
    return torch.cat([(own[:, :2] + torch.stack([gx, gy], 1)) * CELL, own[:, 2:].exp() * ANCHOR], 1)


def iou(pred, boxes):
    p = decode(pred)
    lo = torch.maximum(p[:, :2] - p[:, 2:] / 2, boxes[:, :2] - boxes[:, 2:] / 2)
    hi = torch.minimum(p[:, :2] + p[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    inter = (hi - lo).clamp(min=0).prod(1)
    return (inter / (p[:, 2:].prod(1) + boxes[:, 2:].prod(1) - inter)).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = TinyYolo(squash=4 if variant == "bad" else 2)
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(*render(2048, 1)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*render(512, 2)), batch_size=128),
            "loss_fn": yolo_loss, "metric": iou}


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for imgs, boxes in p["train_loader"]:
            loss = yolo_loss(model(imgs), boxes)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = torch.stack([iou(model(x), y) for x, y in p["val_loader"]]).mean().item()
        print(f"epoch {epoch}  loss {total / len(p['train_loader']):.3f}  val IoU {score:.3f}")
    print(f"score: {score:.4f}")
