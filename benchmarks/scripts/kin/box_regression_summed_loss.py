"""Box of the one object in an image by a CNN, SGD; smooth L1 is summed over batch and coordinates (256 numbers) where the rate was made for the mean, and the net is thrown out at once; change: reduction mean."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SIZE = 28


def scenes(n, seed):
    g = torch.Generator().manual_seed(seed)
    wh = torch.randint(6, 15, (n, 2), generator=g)
    xy = (torch.rand(n, 2, generator=g) * (SIZE - wh)).long()
    x = 0.25 * torch.randn(n, 1, SIZE, SIZE, generator=g)
    for i in range(n):
        (a, b), (w, h) = xy[i].tolist(), wh[i].tolist()
        x[i, 0, b:b + h, a:a + w] += 0.8 + 0.4 * torch.rand(1, generator=g)
    boxes = torch.cat([xy, xy + wh], 1).float() / SIZE
    return x, boxes


class BoxNet(nn.Module):
    def __init__(self):
        super().__init__()
        c = [1, 16, 32, 48]
        layers = []
        for a, b in zip(c, c[1:]):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
        self.backbone = nn.Sequential(*layers)
        self.neck = nn.Sequential(nn.Flatten(), nn.Linear(48 * 16, 96), nn.ReLU())
        self.box = nn.Linear(96, 4)

    def forward(self, x):
        return self.box(self.neck(self.backbone(x)))


def parts(variant):
    torch.manual_seed(0)
    model = BoxNet()
    reduction = "sum" if variant == "bad" else "mean"
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True),
        "loss_fn": nn.SmoothL1Loss(reduction=reduction, beta=0.1),
        "train_loader": DataLoader(TensorDataset(*scenes(2000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*scenes(400, 2)), batch_size=200),
    }


def iou(p, t):
    lt, rb = torch.maximum(p[:, :2], t[:, :2]), torch.minimum(p[:, 2:], t[:, 2:])
    inter = (rb - lt).clamp(min=0).prod(1)
    area = lambda b: (b[:, 2:] - b[:, :2]).clamp(min=0).prod(1)
    return inter / (area(p) + area(t) - inter)


@torch.no_grad()
def mean_iou(model, loader):
    model.eval()
    return torch.cat([iou(model(x), y).nan_to_num(0.0) for x, y in loader]).mean().item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, mean IoU {mean_iou(model, p['val_loader']):.3f}")
    print(f"score: {mean_iou(model, p['val_loader']):.4f}")
