"""Garment pictures (shirt, trousers, dress, bag, shoe) with random crops, flips and erasing in the Dataset, conv blocks with batch norm, OneCycleLR per batch; sound; change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


def draw(kind, r):
    yy, xx = np.mgrid[:28, :28].astype("float32")
    cx, s = 14 + r.normal(0, 1), r.uniform(0.85, 1.15)
    u, v = (xx - cx) / s, (yy - 14) / s
    if kind == 0:
        m = (abs(u) < 5) & (abs(v) < 9) | (abs(u) < 11) & (abs(v + 6) < 3)
    elif kind == 1:
        m = (abs(v) < 11) & (abs(u) < 6) & ((abs(u) > 1.5) | (v < -5))
    elif kind == 2:
        m = (abs(v) < 11) & (abs(u) < 3 + (v + 11) * 0.25)
    elif kind == 3:
        m = (abs(u) < 9) & (v > -2) & (v < 9) | (abs((u ** 2 + (v + 2) ** 2) - 36) < 12) & (v < -2)
    else:
        m = (v > 3) & (v < 8) & (abs(u) < 10) | (v > -4) & (v <= 3) & (u > 3) & (u < 10)
    img = m * r.uniform(90, 230) + r.normal(0, 14, (28, 28)) * m
    return np.clip(img + r.normal(0, 4, (28, 28)), 0, 255).astype(np.uint8)


class Garments(Dataset):
    def __init__(self, n, seed, augment=False):
        r = np.random.default_rng(seed)
        self.targets = torch.from_numpy(r.integers(0, 5, n))
        self.data = torch.from_numpy(np.stack([draw(int(k), r) for k in self.targets]))
        self.augment = augment

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, i):
        x = (self.data[i].float().div(255) - 0.28) / 0.35
        x = x[None]
        if self.augment:
            if torch.rand(()) < 0.5:
                x = x.flip(2)
            top, left = torch.randint(0, 5, (2,)).tolist()
            x = F.pad(x, (2, 2, 2, 2), value=-0.8)[:, top:top + 28, left:left + 28].clone()
            if torch.rand(()) < 0.25:
                a, b = torch.randint(0, 20, (2,)).tolist()
                x[:, a:a + 8, b:b + 8] = 0
        return x, self.targets[i]


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2))
        self.features = nn.Sequential(block(1, 16), block(16, 32), block(32, 64))
        self.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(64, 5))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


EPOCHS = 10


def parts(variant):
    torch.manual_seed(0)
    train_loader = DataLoader(Garments(1600, 0, True), batch_size=64, shuffle=True)
    model = ConvNet()
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.1, epochs=EPOCHS, steps_per_epoch=len(train_loader))
    crit = nn.CrossEntropyLoss(label_smoothing=0.05)

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = crit(model(x), y)
        loss.backward()
        optimizer.step()
        if sched.last_epoch < sched.total_steps:
            sched.step()
        return loss.detach()

    return dict(model=model, optimizer=opt, step=step, train_loader=train_loader, val_loader=DataLoader(Garments(300, 1), batch_size=100))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(EPOCHS):
        p["model"].train()
        loss = np.mean([p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]])
        p["model"].eval()
        with torch.no_grad():
            score = torch.cat([p["model"](x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
        print(f"epoch {epoch + 1} loss {loss:.3f} val acc {score:.3f}")
    print(f"score: {score:.4f}")
