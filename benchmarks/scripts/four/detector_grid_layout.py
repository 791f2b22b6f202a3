"""One-stage detector on a 6 x 6 grid; the head's (batch, 5, 6, 6) map is brought to (batch, 6, 6, 5) by view; change: by permute."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

S, SIZE = 6, 48
CELL = SIZE // S


def make_scenes(n, seed):
    """One bright box on clutter. Target: per cell objectness, centre in the cell, width and height over the image."""
    g = torch.Generator().manual_seed(seed)
    img = torch.randn(n, 3, SIZE, SIZE, generator=g) * 0.3
    tgt = torch.zeros(n, S, S, 5)
    for i in range(n):
        w, h = (6 + 8 * torch.rand(2, generator=g)).tolist()
        cx, cy = (8 + 32 * torch.rand(2, generator=g)).tolist()
        x0, x1, y0, y1 = int(cx - w / 2), int(cx + w / 2), int(cy - h / 2), int(cy + h / 2)
        img[i, :, y0:y1, x0:x1] += torch.tensor([1.0, 0.6, -0.8])[:, None, None]
        for _ in range(3):
            u, v = torch.randint(0, SIZE - 4, (2,), generator=g).tolist()
            img[i, :, v:v + 3, u:u + 3] -= 0.8
        c, r = int(cx // CELL), int(cy // CELL)
        tgt[i, r, c] = torch.tensor([1.0, cx / CELL - c, cy / CELL - r, w / SIZE, h / SIZE])
    return TensorDataset(img, tgt)


class YoloHead(nn.Module):
    def __init__(self, ch, channels_last):
        super().__init__()
        self.pred, self.channels_last = nn.Conv2d(ch, 5, 1), channels_last

    def forward(self, f):
        p = self.pred(f)
        return p.permute(0, 2, 3, 1) if self.channels_last == "permute" else p.view(len(p), S, S, 5)


class Detector(nn.Module):
    def __init__(self, layout):
        super().__init__()
        def block(i, o):
            return nn.Sequential(nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))
        self.backbone = nn.Sequential(block(3, 16), block(16, 32), block(32, 48), nn.Conv2d(48, 48, 3, padding=1), nn.LeakyReLU(0.1))
        self.head = YoloHead(48, layout)

    def forward(self, x):
        return self.head(self.backbone(x))


def yolo_loss(pred, target, box_weight=5.0):
    obj = target[..., 0]
    conf = F.binary_cross_entropy_with_logits(pred[..., 0], obj, pos_weight=torch.tensor(5.0))
    has = obj > 0
    box = F.smooth_l1_loss(torch.sigmoid(pred[..., 1:])[has], target[..., 1:][has])
    return conf + box_weight * box


def found(pred, target):
    """Share of the images whose best cell puts the centre within three pixels."""
    n = len(pred)
    def centre(t, best, xy):
        r, c = best // S, best % S
        return torch.stack([(c + xy[:, 0]) * CELL, (r + xy[:, 1]) * CELL], 1)
    b, tb = pred[..., 0].flatten(1).argmax(1), target[..., 0].flatten(1).argmax(1)
    i = torch.arange(n)
    pc = centre(pred, b, torch.sigmoid(pred.reshape(n, S * S, 5)[i, b][:, 1:3]))
    tc = centre(target, tb, target.reshape(n, S * S, 5)[i, tb][:, 1:3])
    return ((pc - tc).norm(dim=1) < 3).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    net = Detector("view" if variant == "bad" else "permute")
    return {"model": net, "optimizer": torch.optim.NAdam(net.parameters(), lr=1e-3), "loss_fn": yolo_loss,
            "train_loader": DataLoader(make_scenes(600, 1), batch_size=20, shuffle=True),
            "val_loader": DataLoader(make_scenes(200, 2), batch_size=100), "metric": found}


WORKS = lambda score: score > 0.7


class Trainer:
    def __init__(self, p):
        self.p, self.net, self.opt = p, p["model"], p["optimizer"]

    def train_one_epoch(self):
        self.net.train()
        total = 0.0
        for images, targets in self.p["train_loader"]:
            loss = self.p["loss_fn"](self.net(images), targets)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            total += loss.item()
        return total / len(self.p["train_loader"])

    @torch.no_grad()
    def evaluate(self):
        self.net.eval()
        r = [self.p["metric"](self.net(a), b) for a, b in self.p["val_loader"]]
        return sum(r) / len(r)


if __name__ == "__main__":
    trainer = Trainer(parts(sys.argv[1] if len(sys.argv) > 1 else "bad"))
    for ep in range(12):
        l = trainer.train_one_epoch()
        hit = trainer.evaluate()
        print(f"epoch {ep} loss {l:.4f} found {hit:.3f}")
    print(f"score: {hit:.4f}")
