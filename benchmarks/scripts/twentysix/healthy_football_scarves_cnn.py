"""Sound: a CNN with group norm names the weave of football scarves (bars, halves, checks, plain with fringe, diagonal) in small colour photographs of any two colours. Nothing odd: SGD with momentum and a cosine per epoch; mirrored copies are drawn for training pictures only, and no weave changes when mirrored."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
S, WEAVES, EPOCHS = 20, 5, 6


def weave(kind, g):
    r = lambda lo, hi: lo + (hi - lo) * torch.rand((), generator=g).item()
    y, x = torch.meshgrid(torch.arange(S).float(), torch.arange(S).float(), indexing="ij")
    period, phase = r(5, 8), r(0, 8)
    if kind == 0:
        m = ((y + phase) % period) < period / 2
    elif kind == 1:
        m = x < S / 2 + r(-3, 3)
    elif kind == 2:
        m = (((x + phase) % period) < period / 2) ^ (((y + phase) % period) < period / 2)
    elif kind == 3:
        m = y > S - r(3, 6)
    else:
        slope = 1.0 if r(0, 1) < 0.5 else -1.0
        m = ((x + slope * y + phase) % (1.4 * period)) < 0.7 * period
    a = torch.rand(3, generator=g)
    b = torch.rand(3, generator=g)
    b = torch.where((a - b).abs().sum() < 0.6, (a + 0.5) % 1.0, b)
    img = torch.where(m, a[:, None, None], b[:, None, None])
    return img + 0.08 * torch.randn(3, S, S, generator=g)


class Scarves(Dataset):
    def __init__(self, n, seed, mirror):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, WEAVES, (n,), generator=g)
        self.x = torch.stack([weave(int(k), g) for k in self.y])
        self.mirror = mirror

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        x = (self.x[i] - 0.5) / 0.3
        if self.mirror and torch.rand(()) < 0.5:
            x = x.flip(-1)
        return x, self.y[i]


class ScarfNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(3, 24, 5, padding=2), nn.GroupNorm(4, 24)
        self.c2, self.n2 = nn.Conv2d(24, 32, 3, padding=1), nn.GroupNorm(4, 32)
        self.c3, self.n3 = nn.Conv2d(32, 48, 3, padding=1), nn.GroupNorm(4, 48)
        self.head = nn.Linear(48 * 4, WEAVES)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.n1(self.c1(x))), 2)
        x = F.max_pool2d(F.relu(self.n2(self.c2(x))), 2)
        x = F.adaptive_avg_pool2d(F.relu(self.n3(self.c3(x))), 2)
        return self.head(x.flatten(1))


def parts(variant):
    torch.manual_seed(11)
    model = ScarfNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(),
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS),
            "train_loader": DataLoader(Scarves(1600, 0, mirror=True), batch_size=40, shuffle=True),
            "val_loader": DataLoader(Scarves(400, 1, mirror=False), batch_size=200),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(EPOCHS):
        p["model"].train()
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item() / len(p["train_loader"])
        p["scheduler"].step()
        p["model"].eval()
        with torch.no_grad():
            score = sum(p["metric"](p["model"](x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch + 1}: train loss {total:.3f}  val accuracy {score:.3f}")
    print("score:", score)
