"""1-D conv net on noisy tones with gradient accumulation: 32 micro-batches to an update, but an epoch has 20 and zero_grad comes at its start, so step is never reached; change: `fixed` accumulates 4."""
import argparse
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda s: s > 0.8
BATCH, N_TRAIN, RATE = 32, 640, 128


def tones(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 6, (n,), generator=g)
    t = torch.arange(RATE) / RATE
    freq = 4 + 3 * y + torch.rand(n, generator=g)
    phase = torch.rand(n, generator=g) * 2 * math.pi
    x = torch.sin(2 * math.pi * freq[:, None] * t + phase[:, None]) + 0.5 * torch.randn(n, RATE, generator=g)
    return x.unsqueeze(1), y


def build():
    return nn.Sequential(
        nn.Conv1d(1, 24, 9, stride=2, padding=4), nn.BatchNorm1d(24), nn.ReLU(),
        nn.Conv1d(24, 48, 9, stride=2, padding=4), nn.BatchNorm1d(48), nn.ReLU(),
        nn.Conv1d(48, 48, 5, padding=2), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(48, 6))


def parts(variant):
    torch.manual_seed(0)
    effective = 1024 if variant == "bad" else 128
    accum_steps = effective // BATCH
    train_loader = DataLoader(TensorDataset(*tones(N_TRAIN, 1)), batch_size=BATCH, shuffle=True)
    val_loader = DataLoader(TensorDataset(*tones(400, 2)), batch_size=200)
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()
    where = {"i": 0}

    def step(model, batch, optimizer):
        i = where["i"]
        if i == 0:
            optimizer.zero_grad()
        x, y = batch
        loss = criterion(model(x), y)
        (loss / accum_steps).backward()
        if (i + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
        where["i"] = (i + 1) % len(train_loader)
        return loss

    return {"model": model, "optimizer": optimizer, "train_loader": train_loader, "val_loader": val_loader, "step": step,
            "metric": lambda o, t: (o.argmax(1) == t).float().mean()}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=30)
    args = ap.parse_args()
    p = parts(args.variant)
    model = p["model"]
    for epoch in range(args.epochs):
        model.train()
        mean = 0.0
        for batch in p["train_loader"]:
            mean += p["step"](model, batch, p["optimizer"]).item() / len(p["train_loader"])
        model.eval()
        with torch.no_grad():
            acc = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / 400
        if epoch % 5 == 4:
            print(f"[{epoch + 1:3d}] loss={mean:.3f} val_acc={acc:.3f}")
    print(f"score: {acc:.4f}")


if __name__ == "__main__":
    main()
