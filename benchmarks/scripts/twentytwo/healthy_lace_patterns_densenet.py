"""Five patterns of lace, a small DenseNet whose layers read everything before them, SGD with Nesterov momentum and MultiStepLR; unusual: each layer adds only eight channels and the rate starts at 0.1."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def lace(kind, rng, n=24):
    yy, xx = np.mgrid[0:n, 0:n] + rng.uniform(0, 8, (2, 1, 1))
    f = 2 * np.pi / rng.uniform(5, 7)
    if kind == 0:    # stripes
        z = np.sin(f * xx)
    elif kind == 1:  # net
        z = np.maximum(np.sin(f * xx), np.sin(f * yy))
    elif kind == 2:  # diamonds
        z = np.maximum(np.sin(f * (xx + yy) / 1.4), np.sin(f * (xx - yy) / 1.4))
    elif kind == 3:  # dots
        z = np.sin(f * xx) * np.sin(f * yy) * 1.4
    else:            # scallops
        z = np.sin(f * yy + 2 * np.abs(np.sin(f * xx / 2)))
    return (z > 0.5) * rng.uniform(0.6, 1) + rng.normal(0, 0.25, (n, n))


class Lace(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.y = rng.integers(0, 5, n)
        self.x = torch.tensor(np.stack([lace(k, rng) for k in self.y])[:, None], dtype=torch.float32)
        self.x = (self.x - 0.3) / 0.45

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], int(self.y[i])


class DenseLayer(nn.Module):
    def __init__(self, c_in, growth):
        super().__init__()
        self.norm = nn.BatchNorm2d(c_in)
        self.conv = nn.Conv2d(c_in, growth, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(torch.relu(self.norm(x)))], 1)


class LaceNet(nn.Module):
    def __init__(self, growth=8):
        super().__init__()
        c = 12
        layers = [nn.Conv2d(1, c, 3, stride=2, padding=1, bias=False)]
        for block in range(2):
            for _ in range(3):
                layers.append(DenseLayer(c, growth))
                c += growth
            if block == 0:
                layers += [nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, c // 2, 1, bias=False), nn.AvgPool2d(2)]
                c //= 2
        layers += [nn.BatchNorm2d(c), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(c, 5)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def parts(variant):
    torch.manual_seed(0)
    model = LaceNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "scheduler": torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[4, 6]),
            "train_loader": DataLoader(Lace(1500, 0), batch_size=50, shuffle=True),
            "val_loader": DataLoader(Lace(300, 1), batch_size=150),
            "metric": lambda o, t: (o.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        p["scheduler"].step()
        net.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](net(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch} loss {loss.item():.4f} acc {acc:.4f} next lr {opt.param_groups[0]['lr']:.4f}")
    print("score:", acc)
