"""Adversarial training: a network that sorts slug trails by shape learns on images moved against it by three signed gradient steps, and is scored under a stronger attack of ten. Odd, but right: each step calls the model four times, with eval() while the attack is made (so that it leaves the batch statistics alone) and gradients taken of the input alone; the training loss stays well above that of ordinary training."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIDE, KINDS, EPS = 16, 4, 0.15


def draw_trails(n, g):
    kind = torch.randint(0, KINDS, (n,), generator=g)
    s = torch.linspace(0, 1, 60)
    phase, size = 6.28 * torch.rand(n, 1, generator=g), 4 + 2.5 * torch.rand(n, 1, generator=g)
    straight = torch.stack([(s - 0.5).expand(n, -1) * 2, torch.zeros(n, 60)], -1)
    wavy = torch.stack([(s - 0.5).expand(n, -1) * 2, 0.5 * torch.sin(12 * s + phase)], -1)
    loop = torch.stack([torch.cos(6.28 * s).expand(n, -1), torch.sin(6.28 * s).expand(n, -1)], -1)
    hook = torch.stack([torch.cos(4 * s).expand(n, -1) * (1 - s), torch.sin(4 * s).expand(n, -1) * (1 - s)], -1) * 1.2
    curve = torch.stack([straight, wavy, loop, hook], 1)[torch.arange(n), kind] * size[:, :, None]
    turn = 6.28 * torch.rand(n, generator=g)
    rot = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()], 1).view(n, 2, 2)
    curve = curve @ rot + SIDE / 2 - 0.5 + torch.randn(n, 1, 2, generator=g)
    grid = torch.stack(torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij"), -1).float().view(1, -1, 2)
    image = torch.exp(-torch.cdist(grid.expand(n, -1, -1), curve).min(-1).values ** 2).view(n, 1, SIDE, SIDE)
    return (image + 0.1 * torch.randn(image.shape, generator=g)).clamp(0, 1), kind


class TrailNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
        self.fc = nn.Linear(32 * 16, KINDS)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))


def attack(model, x, y, steps):
    delta = torch.empty_like(x).uniform_(-EPS, EPS)
    for _ in range(steps):
        delta.requires_grad_(True)
        grad, = torch.autograd.grad(F.cross_entropy(model(x + delta), y), delta)
        delta = (delta.detach() + 2.5 * EPS / steps * grad.sign()).clamp(-EPS, EPS)
    return (x + delta).clamp(0, 1).detach()


def step(model, batch, optimizer):
    x, y = batch
    model.eval()
    x_adv = attack(model, x, y, steps=3)
    model.train()
    loss = F.cross_entropy(model(x_adv), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def parts(variant):
    torch.manual_seed(9)
    g = torch.Generator().manual_seed(90)
    train, held = TensorDataset(*draw_trails(1500, g)), TensorDataset(*draw_trails(300, g))
    model = TrailNet()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3), "step": step,
            "train_loader": DataLoader(train, batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(held, batch_size=100),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    p = parts("fixed")
    model = p["model"]
    for epoch in range(8):
        for batch in p["train_loader"]:
            loss = p["step"](model, batch, p["optimizer"])
        print(f"epoch {epoch}: loss under attack {loss.item():.3f}")
    model.eval()
    robust = []
    for x, y in p["val_loader"]:
        with torch.no_grad():
            clean = p["metric"](model(x), y)
        robust.append(p["metric"](model(attack(model, x, y, steps=10)), y))
    print(f"last batch, no attack: {clean:.3f}")
    print("score:", sum(robust) / len(robust))
