"""Conv net on motor currents trained with a hand-written LARS: each tensor's step is scaled to its own norm, the base rate is 4 with a linear warmup, gradients are gathered over four small batches before a step; sound."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class LARS(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.9, trust=0.001, weight_decay=1e-4):
        super().__init__(params, dict(lr=lr, momentum=momentum, trust=trust, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        for g in self.param_groups:
            for w in g["params"]:
                if w.grad is None:
                    continue
                d = w.grad
                if w.dim() > 1:
                    d = d + g["weight_decay"] * w
                    d = d * (g["trust"] * w.norm() / (d.norm() + 1e-9))
                else:
                    d = d * 0.01
                buf = self.state[w].setdefault("momentum", torch.zeros_like(w))
                buf.mul_(g["momentum"]).add_(d, alpha=g["lr"])
                w.sub_(buf)


def currents(n=1400, seed=22):
    rng = np.random.default_rng(seed)
    t = np.arange(128) / 128
    y = rng.integers(0, 4, n)
    x = np.zeros((n, 2, 128))
    for i, k in enumerate(y):
        ph, f = rng.uniform(0, 6.28), rng.uniform(5.5, 6.5)
        w = 2 * np.pi * f * t + ph
        base = np.sin(w)
        if k == 1:
            base = base + 0.35 * np.sin(5 * w)
        elif k == 2:
            base = base * (1 + 0.4 * np.sin(2 * np.pi * 2 * t + ph))
        elif k == 3:
            base = np.clip(base, -0.6, 0.6)
        x[i, 0], x[i, 1] = base, np.gradient(base) * 5
    x += 0.2 * rng.normal(size=x.shape)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def make_net():
    return nn.Sequential(nn.Conv1d(2, 24, 9, padding=4), nn.ReLU(), nn.MaxPool1d(2),
                         nn.Conv1d(24, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
                         nn.Conv1d(32, 32, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
                         nn.Linear(32, 4))


def parts(variant):
    torch.manual_seed(0)
    x, y = currents()
    model = make_net()
    optimizer = LARS(model.parameters(), lr=4.0)
    criterion = nn.CrossEntropyLoss()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / 30) * 0.995 ** s)

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        total = 0.0
        for xs, ys in zip(x.chunk(4), y.chunk(4)):
            loss = criterion(model(xs), ys) * len(xs) / len(x)
            loss.backward()
            total = total + loss.detach()
        optimizer.step()
        return total

    return {"model": model, "optimizer": optimizer, "step": step, "scheduler": scheduler,
            "train_loader": DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(15):
        p["model"].train()
        losses = []
        for batch in p["train_loader"]:
            losses.append(p["step"](p["model"], batch, p["optimizer"]).item())
            p["scheduler"].step()
        p["model"].eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            acc = (p["model"](x).argmax(1) == y).float().mean().item()
        print(f"epoch {epoch} loss {np.mean(losses):.4f} acc {acc:.3f}")
    print(f"score: {acc:.4f}")
