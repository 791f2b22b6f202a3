"""Convolutional network with RMSprop that tells the topping of small grey photos of pizzas (plain, olives, stripes of sauce, half and half). An ordinary sound script with batch normalisation and step decay once per epoch."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIZE = 16


def photograph(n, gen):
    axis = torch.linspace(-1, 1, SIZE)
    yy, xx = torch.meshgrid(axis, axis, indexing="ij")
    labels = torch.randint(0, 4, (n,), generator=gen)
    images = torch.empty(n, 1, SIZE, SIZE)
    for i in range(n):
        cx, cy = (0.15 * torch.randn(2, generator=gen)).tolist()
        angle = (6.283 * torch.rand(1, generator=gen))
        u = (xx - cx) * angle.cos() + (yy - cy) * angle.sin()
        v = -(xx - cx) * angle.sin() + (yy - cy) * angle.cos()
        disc = (u ** 2 + v ** 2 < 0.75 ** 2).float()
        img = 0.5 * disc
        kind = int(labels[i])
        if kind == 1:
            for _ in range(5):
                ox, oy = (torch.rand(2, generator=gen) - 0.5).tolist()
                img = img - 0.5 * disc * ((u - ox) ** 2 + (v - oy) ** 2 < 0.03).float()
        elif kind == 2:
            img = img + 0.35 * disc * (torch.sin(11 * u) > 0).float()
        elif kind == 3:
            img = img + 0.35 * disc * (u > 0).float()
        images[i, 0] = img * (0.8 + 0.4 * torch.rand(1, generator=gen))
    images = images + 0.15 * torch.randn(images.shape, generator=gen)
    return TensorDataset((images - 0.25) / 0.3, labels)


def conv_block(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(),
                         nn.MaxPool2d(2))


class ToppingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(conv_block(1, 10), conv_block(10, 20))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(20 * 16, 32), nn.ReLU(), nn.Linear(32, 4))

    def forward(self, x):
        return self.classifier(self.features(x))


def accuracy(logits, labels):
    return (logits.argmax(-1) == labels).float().mean().item()


def parts(variant):
    torch.manual_seed(5)
    gen = torch.Generator().manual_seed(50)
    train, val = photograph(1400, gen), photograph(400, gen)
    model = ToppingNet()
    return {"model": model,
            "optimizer": torch.optim.RMSprop(model.parameters(), lr=1.5e-3, alpha=0.95),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "train_loader": DataLoader(train, batch_size=40, shuffle=True),
            "val_loader": DataLoader(val, batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    decay = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.4)
    for epoch in range(8):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
        decay.step()
        model.eval()
        with torch.no_grad():
            logits, ys = zip(*((model(x), y) for x, y in p["val_loader"]))
        score = p["metric"](torch.cat(logits), torch.cat(ys))
        print(f"epoch {epoch}: accuracy {score:.3f}")
    print("score:", score)
