"""Textures by a small MobileNet-like net, RMSprop with exponential decay: each block ends in a plain 1x1 convolution and the next begins with one, so convolutions follow each other with batch norm only between. Sound: linear bottlenecks by design; ReLU6 is inside the blocks, and the head is a low-rank pair of linear layers."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SIZE, KINDS = 20, 5


def textures(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, KINDS, (n,), generator=g)
    i, j = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")
    ph = 6.28 * torch.rand(n, 2, 1, 1, generator=g)
    f = 0.9 * (0.85 + 0.3 * torch.rand(n, 1, 1, generator=g))
    a, b = torch.sin(f * i + ph[:, 0]), torch.sin(f * j + ph[:, 1])
    d, e = torch.sin(0.7 * f * (i + j) + ph[:, 0]), torch.sin(0.7 * f * (i - j) + ph[:, 1])
    x = torch.stack([a, b, a * b * 1.4, d, e], 1)[torch.arange(n), y]
    x = x + 0.9 * torch.randn(x.shape, generator=g)
    return x[:, None], y


class Inverted(nn.Module):
    def __init__(self, c_in, c_out, stride=1, expand=4):
        super().__init__()
        mid = c_in * expand
        self.same = stride == 1 and c_in == c_out
        self.body = nn.Sequential(
            nn.Conv2d(c_in, mid, 1, bias=False), nn.BatchNorm2d(mid), nn.ReLU6(),
            nn.Conv2d(mid, mid, 3, stride=stride, padding=1, groups=mid, bias=False), nn.BatchNorm2d(mid), nn.ReLU6(),
            nn.Conv2d(mid, c_out, 1, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        return x + self.body(x) if self.same else self.body(x)


def parts(variant):
    torch.manual_seed(0)
    x, y = textures(1500, 1)
    xv, yv = textures(400, 2)
    mean, std = x.mean(), x.std()
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
        Inverted(8, 12), Inverted(12, 12), Inverted(12, 20, stride=2), Inverted(20, 20),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 8, bias=False), nn.Linear(8, KINDS))
    opt = torch.optim.RMSprop(model.parameters(), lr=2e-3, momentum=0.5)
    return {
        "model": model, "optimizer": opt, "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
        "scheduler": torch.optim.lr_scheduler.ExponentialLR(opt, 0.8),
        "train_loader": DataLoader(TensorDataset((x - mean) / std, y), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset((xv - mean) / std, yv), batch_size=200),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return sum((model(x).argmax(1) == y).float().mean().item() for x, y in loader) / len(loader)


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        p["scheduler"].step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f} accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
