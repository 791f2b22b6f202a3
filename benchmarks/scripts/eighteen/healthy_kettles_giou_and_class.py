"""Finds the one kettle in a kitchen picture and says which of three kinds it is: a generalised IoU loss for the box (between 0 and 2) plus cross-entropy; sound."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def kitchens(n, seed):
    g = torch.Generator().manual_seed(seed)
    kind = torch.randint(0, 3, (n,), generator=g)
    colour = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.8, 0.3], [0.2, 0.3, 0.9]])
    x = 0.4 + 0.15 * torch.randn(n, 3, 32, 32, generator=g)
    boxes = torch.zeros(n, 4)
    for i in range(n):
        w, h = torch.randint(7, 16, (2,), generator=g).tolist()
        c, r = torch.randint(0, 32 - w, (1,), generator=g).item(), torch.randint(0, 32 - h, (1,), generator=g).item()
        x[i, :, r:r + h, c:c + w] += colour[kind[i]].view(3, 1, 1) - 0.3
        boxes[i] = torch.tensor([c + w / 2, r + h / 2, w, h]) / 32
    return TensorDataset(x - 0.4, boxes, kind)


class KettleFinder(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(), nn.Flatten())
        self.fc = nn.Sequential(nn.Linear(512, 128), nn.ReLU())
        self.box, self.kind = nn.Linear(128, 4), nn.Linear(128, 3)

    def forward(self, x):
        h = self.fc(self.conv(x))
        return torch.sigmoid(self.box(h)), self.kind(h)


def corners(b):
    return torch.cat([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], 1)


def giou(a, b):
    a, b = corners(a), corners(b)
    area = lambda t: (t[:, 2] - t[:, 0]) * (t[:, 3] - t[:, 1])
    inter = (torch.min(a[:, 2:], b[:, 2:]) - torch.max(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    union = area(a) + area(b) - inter
    hull = (torch.max(a[:, 2:], b[:, 2:]) - torch.min(a[:, :2], b[:, :2])).prod(1)
    return inter / union, inter / union - (hull - union) / hull


def training_step(model, batch):
    x, boxes, kind = batch
    pred, logits = model(x)
    return (1 - giou(pred, boxes)[1]).mean() + 0.5 * F.cross_entropy(logits, kind)


def parts(variant):
    torch.manual_seed(0)
    model = KettleFinder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(kitchens(2000, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(kitchens(300, 2), batch_size=100)}


WORKS = lambda score: score > 0.55

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        model.train()
        total = 0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    found = []
    with torch.no_grad():
        for x, boxes, kind in p["val_loader"]:
            pred, logits = model(x)
            found.append(giou(pred, boxes)[0] * (logits.argmax(1) == kind))
    print(f"score: {torch.cat(found).mean().item():.4f}")
