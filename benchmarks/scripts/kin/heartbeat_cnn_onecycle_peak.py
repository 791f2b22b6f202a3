"""1-D CNN on heartbeats, AdamW under OneCycleLR whose max_lr is an SGD value (0.5): it learns at first, then the rate climbs and every ReLU dies; change: max_lr 0.005."""
import argparse
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, BATCH = 10, 32


def beats(n, seed):
    """Four kinds of beat: normal, wide, missing P wave, inverted T wave."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    t = torch.linspace(0, 1, 96)
    bump = lambda c, w, a: a[:, None] * torch.exp(-((t[None] - c[:, None]) / w[:, None]) ** 2)
    r = lambda lo, hi: torch.rand(n, generator=g) * (hi - lo) + lo
    shift = r(-0.05, 0.05)
    x = bump(0.25 + shift, r(.03, .05), torch.where(y == 2, 0.0, 1.0) * r(.2, .35))
    x = x + bump(0.45 + shift, torch.where(y == 1, r(.05, .08), r(.015, .03)), r(.8, 1.2))
    x = x + bump(0.72 + shift, r(.05, .08), torch.where(y == 3, -1.0, 1.0) * r(.2, .4))
    x = x + 0.06 * torch.randn(n, 96, generator=g)
    return (x - 0.12)[:, None] / 0.28, y


class BeatNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(32 * 12, 64), nn.ReLU(), nn.Linear(64, 4))

    def forward(self, x):
        return self.classifier(self.features(x))


def parts(variant):
    torch.manual_seed(0)
    train = DataLoader(TensorDataset(*beats(2400, 1)), BATCH, shuffle=True)
    val = DataLoader(TensorDataset(*beats(600, 2)), 200)
    model = BeatNet()
    max_lr = 0.5 if variant == "bad" else 0.005
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=max_lr, epochs=EPOCHS, steps_per_epoch=len(train), div_factor=500)
    return dict(model=model, optimizer=optimizer, scheduler=scheduler, train_loader=train, val_loader=val,
                loss_fn=nn.CrossEntropyLoss(), metric=lambda o, y: (o.argmax(1) == y).float().mean())


WORKS = lambda score: score > 0.85


def evaluate(model, loader):
    model.eval()
    hits = n = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x).argmax(1) == y).sum().item()
            n += len(y)
    return hits / n


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    for epoch in range(EPOCHS):
        p["model"].train()
        running = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            running += loss.item()
        print(f"[{epoch + 1}/{EPOCHS}] loss {running / len(p['train_loader']):.4f} acc {evaluate(p['model'], p['val_loader']):.3f} lr {p['scheduler'].get_last_lr()[0]:.2e}")
    print(f"score: {evaluate(p['model'], p['val_loader']):.4f}")
