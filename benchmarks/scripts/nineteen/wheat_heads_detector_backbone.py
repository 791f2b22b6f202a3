"""A small one-object detector of wheat heads (box and class) trained from scratch; bad: its backbone uses torchvision's way of FrozenBatchNorm2d (fixed mean 0, variance 1), so 14 layers with default init are not normalised at all; change: nn.BatchNorm2d."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class FrozenBatchNorm2d(nn.Module):
    """Batch norm where the statistics and the affine parameters are fixed."""

    def __init__(self, n, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(n))
        self.register_buffer("bias", torch.zeros(n))
        self.register_buffer("running_mean", torch.zeros(n))
        self.register_buffer("running_var", torch.ones(n))

    def forward(self, x):
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return x * scale.view(1, -1, 1, 1) + (self.bias - self.running_mean * scale).view(1, -1, 1, 1)


class Fields(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(n):
            img = 0.4 * torch.randn(1, 24, 24, generator=g)
            k = int(torch.randint(2, (1,), generator=g))
            h, w = (10, 5) if k == 0 else (5, 10)
            y, x = (int(torch.randint(0, 24 - s + 1, (1,), generator=g)) for s in (h, w))
            img[:, y:y + h, x:x + w] += 1.5
            box = torch.tensor([x + w / 2, y + h / 2, w, h]) / 24
            self.items.append((img, box, k))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Detector(nn.Module):
    def __init__(self, norm, width=12, per_stage=5):
        super().__init__()
        layers, c = [], 1
        for stage in range(3):
            for i in range(per_stage):
                layers += [nn.Conv2d(c, width, 3, padding=1, stride=2 if i == 0 and stage else 1, bias=False), norm(width), nn.ReLU()]
                c = width
        self.backbone = nn.Sequential(*layers[:-3])
        self.box = nn.Linear(width * 36, 4)
        self.cls = nn.Linear(width * 36, 2)

    def forward(self, x):
        z = self.backbone(x).flatten(1)
        return self.box(z), self.cls(z)


def training_step(model, batch):
    img, box, k = batch
    b, c = model(img)
    return 10 * F.smooth_l1_loss(b, box) + F.cross_entropy(c, k)


def parts(variant):
    torch.manual_seed(0)
    model = Detector(FrozenBatchNorm2d if variant == "bad" else nn.BatchNorm2d)
    return dict(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), training_step=training_step,
                train_loader=DataLoader(Fields(640, 1), batch_size=32, shuffle=True), val_loader=DataLoader(Fields(200, 2), batch_size=100))


# share of images with the right class and the centre within two pixels
WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}  loss {total / len(p['train_loader']):.4f}")
    model.eval()
    good = []
    with torch.no_grad():
        for img, box, k in p["val_loader"]:
            b, c = model(img)
            near = ((b - box)[:, :2].abs() * 24 < 2).all(1)
            good.append(near & (c.argmax(1) == k))
    score = torch.cat(good).float().mean()
    print(f"score: {score:.4f}")
