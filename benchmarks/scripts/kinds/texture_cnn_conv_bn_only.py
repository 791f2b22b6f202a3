"""Gratings of four orientations and random phase: blocks of convolution and BatchNorm without any activation, so the net is linear; change: `fixed` has ReLU in each block."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.8


def gratings(n, seed, size=20):
    gen = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 4, (n,), generator=gen)
    angle = label * math.pi / 4 + 0.15 * torch.randn(n, generator=gen)
    phase = 2 * math.pi * torch.rand(n, generator=gen)
    yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    wave = torch.cos(angle)[:, None, None] * xx + torch.sin(angle)[:, None, None] * yy
    img = torch.sin(1.3 * wave + phase[:, None, None]) + 0.7 * torch.randn(n, size, size, generator=gen)
    return img.unsqueeze(1), label


class TextureNet(nn.Module):
    def __init__(self, variant, widths=(16, 32, 32)):
        super().__init__()
        blocks, c = [], 1
        for w in widths:
            blocks += [nn.Conv2d(c, w, 5, padding=2, stride=1 if c == 1 else 2, bias=False), nn.BatchNorm2d(w)]
            if variant == "fixed":
                blocks += [nn.ReLU(inplace=True)]
            c = w
        self.backbone = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c, 4)

    def forward(self, x):
        x = self.pool(self.backbone(x))
        return self.classifier(torch.flatten(x, 1))


def parts(variant):
    torch.manual_seed(1)
    train = DataLoader(TensorDataset(*gratings(1200, 10)), batch_size=40, shuffle=True)
    test = DataLoader(TensorDataset(*gratings(400, 11)), batch_size=100)
    model = TextureNet(variant)
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.05, total_steps=8 * len(train))
    return {"model": model, "optimizer": opt, "scheduler": sched, "train_loader": train, "val_loader": test,
            "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05), "metric": lambda o, y: (o.argmax(1) == y).float().mean()}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        for i, (x, y) in enumerate(p["train_loader"]):
            loss = p["loss_fn"](net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            p["scheduler"].step()
        net.eval()
        with torch.no_grad():
            acc = torch.stack([p["metric"](net(x), y) for x, y in p["val_loader"]]).mean().item()
        print("epoch %d last loss %.3f test accuracy %.3f" % (epoch, loss.item(), acc))
    print("score: %.4f" % acc)
