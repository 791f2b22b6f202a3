"""Single-object detector on 40x40 images: the box head ends in a sigmoid (0..1) but the boxes are in pixels (0..40), so all outputs saturate at 1; change: divide the boxes by the image size."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

S = 40

def scenes(n, seed):
    g = torch.Generator().manual_seed(seed)
    wh = torch.randint(8, 18, (n, 2), generator=g); xy = (torch.rand(n, 2, generator=g) * (S - wh)).long()
    img = 0.25 * torch.randn(n, 1, S, S, generator=g)
    for i in range(n):
        (x, y), (w, h) = xy[i].tolist(), wh[i].tolist(); img[i, 0, y:y + h, x:x + w] += 1.0
    return img, torch.cat([xy, xy + wh], 1).float()

class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten())
        self.box = nn.Sequential(nn.Linear(32 * 100, 64), nn.ReLU(), nn.Linear(64, 4), nn.Sigmoid())
    def forward(self, x): return self.box(self.backbone(x))

def iou(a, b):
    lt, rb = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inter = (rb - lt).clamp(min=0).prod(1); area = lambda t: (t[:, 2:] - t[:, :2]).clamp(min=0).prod(1)
    return inter / (area(a) + area(b) - inter + 1e-9)

def parts(variant):
    torch.manual_seed(0)
    norm = S if variant == "fixed" else 1.0
    (a, b), (c, d) = scenes(1500, 0), scenes(300, 1)
    m = Detector()
    return {"model": m, "optimizer": torch.optim.Adam(m.parameters(), lr=1e-3), "loss_fn": nn.SmoothL1Loss(),
            "train_loader": DataLoader(TensorDataset(a, b / norm), 32, shuffle=True), "val_loader": DataLoader(TensorDataset(c, d / norm), 100)}

WORKS = lambda score: score > 0.5      # mean IoU

if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else "bad"
    p = parts(variant)
    for epoch in range(10):
        p["model"].train(); running = 0.0
        for img, box in p["train_loader"]:
            p["optimizer"].zero_grad(); loss = p["loss_fn"](p["model"](img), box); loss.backward(); p["optimizer"].step(); running += loss.item()
        print(f"[{epoch}] box loss {running / len(p['train_loader']):.4f}")
    p["model"].eval()
    with torch.no_grad():
        m = torch.cat([iou(p["model"](x), y) for x, y in p["val_loader"]]).mean().item()
    print(f"score: {m:.4f}")
