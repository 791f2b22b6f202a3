"""YOLO-like detector of one square per picture on an 8x8 grid; the target tensor is filled at [column, row] while the network's map is [row, column]; change: [gy, gx]."""
import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

IMG, S = 32, 8
WORKS = lambda miou: miou > 0.55


def render(n, seed):
    g = torch.Generator().manual_seed(seed)
    imgs = 0.3 * torch.randn(n, 1, IMG, IMG, generator=g)
    wh = torch.randint(5, 12, (n, 2), generator=g)
    x0 = (torch.rand(n, generator=g) * (IMG - wh[:, 0])).long()
    y0 = (torch.rand(n, generator=g) * (IMG - wh[:, 1])).long()
    for k in range(n):
        imgs[k, 0, y0[k]:y0[k] + wh[k, 1], x0[k]:x0[k] + wh[k, 0]] += 1.0
    boxes = torch.stack([x0 + wh[:, 0] / 2, y0 + wh[:, 1] / 2, wh[:, 0], wh[:, 1]], 1).float() / IMG
    return imgs, boxes                                     # cx, cy, w, h in 0..1


def encode(boxes, variant):
    """(N, 4) boxes to (N, 5, S, S): objectness, dx, dy, w, h."""
    target = torch.zeros(len(boxes), 5, S, S)
    for b, (cx, cy, w, h) in enumerate(boxes.tolist()):
        gx, gy = min(int(cx * S), S - 1), min(int(cy * S), S - 1)
        values = torch.tensor([1.0, cx * S - gx, cy * S - gy, w, h])
        if variant == "bad":
            target[b, :, gx, gy] = values
        else:
            target[b, :, gy, gx] = values
    return target


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        c = lambda i, o, s: nn.Sequential(nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))
        self.net = nn.Sequential(c(1, 12, 2), c(12, 24, 2), c(24, 24, 1), nn.Conv2d(24, 5, 1))

    def forward(self, x):
        o = self.net(x)
        return torch.cat([o[:, :1], o[:, 1:].sigmoid()], 1)


def yolo_loss(out, target):
    obj = target[:, 0]
    conf = F.binary_cross_entropy_with_logits(out[:, 0], obj, pos_weight=torch.tensor(8.0))
    coord = (((out[:, 1:] - target[:, 1:]) ** 2).sum(1) * obj).sum() / obj.sum()
    return conf + 5.0 * coord


@torch.no_grad()
def mean_iou(model, imgs, boxes):
    model.eval()
    out = model(imgs)
    best = out[:, 0].flatten(1).argmax(1)
    gy, gx = best // S, best % S
    v = out.flatten(2)[torch.arange(len(out)), :, best]
    pred = torch.stack([(gx + v[:, 1]) / S, (gy + v[:, 2]) / S, v[:, 3], v[:, 4]], 1)
    lo = torch.maximum(pred[:, :2] - pred[:, 2:] / 2, boxes[:, :2] - boxes[:, 2:] / 2)
    hi = torch.minimum(pred[:, :2] + pred[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    inter = (hi - lo).clamp(min=0).prod(1)
    return (inter / (pred[:, 2:].prod(1) + boxes[:, 2:].prod(1) - inter)).mean().item()


def parts(variant="fixed"):
    torch.manual_seed(8)
    imgs, boxes = render(1500, 0)
    vi, vb = render(300, 1)
    model = Detector()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "loss_fn": yolo_loss,
            "train_loader": DataLoader(TensorDataset(imgs, encode(boxes, variant)), 50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(vi, encode(vb, variant)), 300)}


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    args = ap.parse_args()
    p = parts(args.variant)
    model, opt = p["model"], p["optimizer"]
    test_imgs, test_boxes = render(300, 1)
    for epoch in range(14):
        model.train()
        s = 0.0
        for x, t in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), t)
            loss.backward()
            opt.step()
            s += loss.item()
        iou = mean_iou(model, test_imgs, test_boxes)
        print(f"epoch {epoch + 1:2d} | loss {s / len(p['train_loader']):.3f} | mean IoU {iou:.3f}")
    print("score:", round(iou, 4))
