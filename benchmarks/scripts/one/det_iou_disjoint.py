"""Single-object detector with 1 - IoU as its loss; the boxes predicted at the start do not overlap the targets, the clamped intersection is 0 and so is the gradient: the loss stays at 1; the right change: a loss that pulls disjoint boxes too (smooth L1 here, or GIoU)."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def scenes(n, seed):
    torch.manual_seed(seed)
    imgs = torch.rand(n, 1, 32, 32) * 0.4
    boxes = torch.empty(n, 4)
    for k in range(n):
        w, h = torch.randint(6, 12, (2,)).tolist()
        x, y = torch.randint(8, 31 - w, (1,)).item(), torch.randint(8, 31 - h, (1,)).item()
        imgs[k, 0, y:y + h, x:x + w] += 0.6
        boxes[k] = torch.tensor([x, y, x + w, y + h]) / 32.0
    return imgs, boxes


def iou(a, b):
    lt = torch.max(a[:, :2], b[:, :2])
    rb = torch.min(a[:, 2:], b[:, 2:])
    wh = (rb - lt).clamp(min=0)
    inter = wh[:, 0] * wh[:, 1]
    area = lambda t: (t[:, 2] - t[:, 0]).clamp(min=0) * (t[:, 3] - t[:, 1]).clamp(min=0)
    return inter / (area(a) + area(b) - inter + 1e-7)


class BoxNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.box = nn.Sequential(nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, x):
        return self.box(self.features(x))


def parts(variant):
    a, b = scenes(800, 10), scenes(200, 11)
    torch.manual_seed(0)
    net = BoxNet()
    if variant == "bad":
        loss_fn = lambda out, tgt: (1 - iou(out, tgt)).mean()
    else:
        loss_fn = lambda out, tgt: F.smooth_l1_loss(out, tgt, beta=0.05)
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3), "loss_fn": loss_fn,
            "train_loader": DataLoader(TensorDataset(*a), 32, shuffle=True), "val_loader": DataLoader(TensorDataset(*b), 100)}


WORKS = lambda score: score > 0.6  # mean IoU

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(15):
        p["model"].train()
        for x, t in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), t)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        print("epoch %d loss %.4f" % (epoch, loss.item()))
    p["model"].eval()
    with torch.no_grad():
        score = torch.cat([iou(p["model"](x), t) for x, t in p["val_loader"]]).mean().item()
    print("score:", score)
