"""YOLO-like head that finds one parcel on a conveyor belt. In training the predicted width and height go through a sigmoid like the centre, while detection decodes them with exp times the anchor, so that the boxes come at the right place but with wrong sizes; the right change: sigmoid for the centre only.
Report: https://github.com/ultralytics/yolov3/issues/202"""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
S, CELL, ANCHOR = 48, 8, 12.0
G = S // CELL


def belt(n, seed):
    rng = np.random.default_rng(seed)
    imgs = 0.25 + 0.1 * rng.standard_normal((n, 1, S, S))
    boxes = np.zeros((n, 4))
    for k in range(n):
        w, h = rng.uniform(6, 24, 2)
        cx, cy = rng.uniform(w / 2, S - w / 2), rng.uniform(h / 2, S - h / 2)
        x1, y1 = int(cx - w / 2), int(cy - h / 2)
        imgs[k, 0, y1:int(y1 + h), x1:int(x1 + w)] += 0.5
        boxes[k] = [x1 + int(w) / 2, y1 + int(h) / 2, int(w), int(h)]
    return TensorDataset(torch.tensor(imgs, dtype=torch.float32), torch.tensor(boxes, dtype=torch.float32))


class BeltNet(nn.Module):
    def __init__(self):
        super().__init__()

        def conv(i, o, s):
            return nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))

        self.features = nn.Sequential(conv(1, 16, 1), conv(16, 24, 2), conv(24, 48, 2), conv(48, 64, 2), conv(64, 64, 1))
        self.head = nn.Conv2d(64, 5, 1)

    def forward(self, x):
        return self.head(self.features(x))  # tx, ty, tw, th, objectness


def yolo_loss(out, boxes, n_sig):
    n = torch.arange(len(boxes))
    gx, gy = boxes[:, 0] / CELL, boxes[:, 1] / CELL
    i, j = gy.long().clamp(0, G - 1), gx.long().clamp(0, G - 1)
    obj = torch.zeros_like(out[:, 4])
    obj[n, i, j] = 1
    p = out[n, :4, i, j]
    p = torch.cat([torch.sigmoid(p[:, :n_sig]), p[:, n_sig:]], 1)
    t = torch.stack([gx - j, gy - i, torch.log(boxes[:, 2] / ANCHOR), torch.log(boxes[:, 3] / ANCHOR)], 1)
    return 5 * F.mse_loss(p, t) + F.binary_cross_entropy_with_logits(out[:, 4], obj) * 5


def detect(out):
    """best cell of each image -> cx, cy, w, h in pixels"""
    n = torch.arange(len(out))
    best = out[:, 4].flatten(1).argmax(1)
    i, j = best // G, best % G
    t = out[n, :4, i, j]
    return torch.stack([(torch.sigmoid(t[:, 0]) + j) * CELL, (torch.sigmoid(t[:, 1]) + i) * CELL,
                        torch.exp(t[:, 2].clamp(max=4)) * ANCHOR, torch.exp(t[:, 3].clamp(max=4)) * ANCHOR], 1)


def mean_iou(out, boxes):
    d = detect(out)
    lo = torch.max(d[:, :2] - d[:, 2:] / 2, boxes[:, :2] - boxes[:, 2:] / 2)
    hi = torch.min(d[:, :2] + d[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2)
    inter = (hi - lo).clamp(min=0).prod(1)
    return (inter / (d[:, 2:].prod(1) + boxes[:, 2:].prod(1) - inter)).mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = BeltNet()
    n_sig = 4 if variant == "bad" else 2
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": lambda out, boxes: yolo_loss(out, boxes, n_sig),
            "train_loader": DataLoader(belt(800, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(belt(200, 2), batch_size=100), "metric": mean_iou}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(12):
        model.train()
        running = 0.0
        for img, box in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(img), box)
            loss.backward()
            p["optimizer"].step()
            running += loss.item()
        model.eval()
        with torch.no_grad():
            val = np.mean([mean_iou(model(img), box) for img, box in p["val_loader"]])
        print(f"{epoch}: loss {running / len(p['train_loader']):.4f}, val IoU {val:.3f}")
    print("score:", val)
