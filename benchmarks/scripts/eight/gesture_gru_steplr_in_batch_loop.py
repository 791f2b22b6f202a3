"""Gestures (3 channels of acceleration) classified with a GRU; the mistake: StepLR with step_size=3, meant in epochs, is stepped after every batch, so the rate is gone in the first epoch; change: `fixed` gives the step size in batches."""
import argparse

import torch
import torch.nn as nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

CLASSES, STEPS = 6, 30
WORKS = lambda score: score > 0.85


def gestures(n, seed):
    g = torch.Generator().manual_seed(seed)
    proto_gen = torch.Generator().manual_seed(1234)
    t = torch.linspace(0, 1, STEPS)
    freq = 1 + 3 * torch.rand(CLASSES, 3, 1, generator=proto_gen)
    phase = 6.28 * torch.rand(CLASSES, 3, 1, generator=proto_gen)
    y = torch.randint(0, CLASSES, (n,), generator=g)
    shift = 0.15 * torch.rand(n, 1, 1, generator=g)
    x = torch.sin(6.28 * freq[y] * (t - shift) + phase[y])
    x = x * (0.7 + 0.6 * torch.rand(n, 1, 1, generator=g)) + 0.6 * torch.randn(n, 3, STEPS, generator=g)
    return TensorDataset(x.transpose(1, 2).contiguous(), y)


class GestureGRU(nn.Module):
    def __init__(self, hidden=48):
        super().__init__()
        self.gru = nn.GRU(3, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, CLASSES)

    def forward(self, x):
        _, h = self.gru(x)
        return self.fc(h[-1])


def parts(variant="fixed", lr=3e-3):
    torch.manual_seed(15)
    train_loader = DataLoader(gestures(2400, 1), batch_size=48, shuffle=True)
    model = GestureGRU()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    step_size = 3 * len(train_loader) if variant == "fixed" else 3
    return {"model": model, "optimizer": optimizer, "train_loader": train_loader,
            "val_loader": DataLoader(gestures(600, 2), batch_size=200),
            "scheduler": StepLR(optimizer, step_size=step_size, gamma=0.5),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


def train(model, train_loader, optimizer, scheduler, criterion):
    model.train()
    running_loss = 0.0
    for inputs, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        running_loss += loss.item()
    return running_loss / len(train_loader)


def test(model, loader):
    model.eval()
    with torch.no_grad():
        hits = [(model(x).argmax(1) == y).float() for x, y in loader]
    return torch.cat(hits).mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    p = parts(ap.parse_args().variant)
    for epoch in range(12):
        loss = train(p["model"], p["train_loader"], p["optimizer"], p["scheduler"], p["loss_fn"])
        print(f"Epoch {epoch + 1}/12  loss: {loss:.4f}  acc: {test(p['model'], p['val_loader']):.4f}")
    print(f"score: {test(p['model'], p['val_loader']):.4f}")
