"""Healthy: an offline smoother that gives the true speed of a walker at each sample of a recorded, noisy track; it is a convolution over the past and the future alike, and rightly so: the record is whole at use. Input and target are series of one length, as in a forecast."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 96


def tracks(n, seed):
    g = torch.Generator().manual_seed(seed)
    speed = torch.zeros(n, LENGTH)
    level = torch.randn(n, generator=g)
    for t in range(LENGTH):
        jump = torch.rand(n, generator=g) < 0.06
        level = torch.where(jump, torch.randn(n, generator=g), level)
        speed[:, t] = level
    step = torch.sin(torch.arange(LENGTH) * 0.9 + 6.28 * torch.rand(n, 1, generator=g))
    seen = speed + 0.6 * step + 0.5 * torch.randn(n, LENGTH, generator=g)
    return (seen / 1.2).unsqueeze(1), speed.unsqueeze(1)


class Residual(nn.Module):
    def __init__(self, width, dilation):
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.norm = nn.GroupNorm(4, width)

    def forward(self, x):
        return x + torch.relu(self.norm(self.conv(x)))


class Smoother(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.lift = nn.Conv1d(1, width, 5, padding=2)
        self.blocks = nn.Sequential(*[Residual(width, d) for d in (1, 2, 4, 8)])
        self.out = nn.Conv1d(width, 1, 1)

    def forward(self, x):
        return self.out(self.blocks(self.lift(x)))


def r2(output, target):
    return (1 - (output - target).square().mean() / target.var(unbiased=False)).item()


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Smoother()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3),
        "loss_fn": nn.HuberLoss(),
        "train_loader": DataLoader(TensorDataset(*tracks(1000, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*tracks(200, 2)), batch_size=200),
        "metric": r2,
    }


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](model(x), y)
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}  R2 {score:.3f}")
    print(f"score: {score:.4f}")
