"""Deep ReZero network that classifies chirps, with a warm-up that starts at a ten-millionth of the rate; no mistake: the blocks have no gradient at first and the loss lies flat for a third of the run; change: none."""
import argparse
import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class ReZeroBlock(nn.Module):
    def __init__(self, ch, dilation):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))
        self.conv1 = nn.Conv1d(ch, ch, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(ch, ch, 1)

    def forward(self, x):
        return x + self.alpha * self.conv2(torch.relu(self.conv1(x)))


class ChirpNet(nn.Module):
    def __init__(self, ch=24, depth=8, n_classes=4):
        super().__init__()
        self.stem = nn.Conv1d(1, ch, 5, padding=2)
        self.blocks = nn.Sequential(*[ReZeroBlock(ch, 2 ** (i % 4)) for i in range(depth)])
        self.head = nn.Linear(ch, n_classes)
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).abs().mean(-1))


def chirps(n, generator):
    """Four classes: the pitch rises, falls, rises then falls, falls then rises."""
    y = torch.randint(0, 4, (n,), generator=generator)
    s = torch.linspace(0, 1, 96)
    up, tri = 2 * s - 1, 1 - 2 * (2 * s - 1).abs()
    shape = torch.stack([up, -up, tri, -tri])[y]
    base = 0.12 + 0.04 * torch.rand(n, 1, generator=generator)
    phase = torch.cumsum(2 * math.pi * (base + 0.07 * shape), 1) + 6.28 * torch.rand(n, 1, generator=generator)
    env = 1.0 + 0.8 * torch.sign(up)  # the second half is louder
    x = torch.sin(phase) * env + 0.2 * torch.randn(n, 96, generator=generator)
    return TensorDataset(x.unsqueeze(1), y)


def parts(variant="fixed"):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(2)
    model = ChirpNet()
    loader = DataLoader(chirps(3000, g), batch_size=64, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    warm, total = 8 * len(loader), 24 * len(loader)

    def lr_factor(step):
        if step < warm:
            return 10 ** (-7 * (1 - step / warm))  # geometric
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))

    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lr_factor),
        "train_loader": loader,
        "val_loader": DataLoader(chirps(1000, g), batch_size=500),
        "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=24)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    model = p["model"]
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad(set_to_none=True)
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            total += loss.item()
        print(f"epoch {epoch:2d} lr {p['scheduler'].get_last_lr()[0]:.1e} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        print(f"score: {sum(p['metric'](model(x), y).item() for x, y in p['val_loader']) / len(p['val_loader']):.4f}")
