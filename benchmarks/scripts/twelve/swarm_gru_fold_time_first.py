"""Which of two swarms turns together, from tracks (example, time, bird, xy); the time encoder is a GRU made with batch_first=True, and the helper that folds the birds into the batch was refactored: it gives (time, example * birds, channels), so examples and birds are run through as if they were the steps; change: fold to (example * birds, time, channels)."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

BIRDS, STEPS = 4, 16


def tracks(n, seed):
    """Label: did most of the birds turn left in the first half and right in the second (1), or the other way round (0)?"""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 2, (n,), generator=g)
    turn = torch.cat([torch.ones(STEPS // 2), -torch.ones(STEPS // 2)]) * (2.0 * y[:, None] - 1)
    turn = 0.35 * turn[:, :, None] + 0.45 * torch.randn(n, STEPS, BIRDS, generator=g)
    heading = 6.283 * torch.rand(n, 1, BIRDS, generator=g) + turn.cumsum(1)
    v = torch.stack([heading.cos(), heading.sin()], -1)
    return v / 0.7071, y


def fold_birds(x, layout):
    n, t, b, c = x.shape
    if layout == "time first":
        return x.transpose(0, 1).reshape(t, n * b, c)
    return x.transpose(1, 2).reshape(n * b, t, c)


class SwarmNet(nn.Module):
    def __init__(self, layout, width=32):
        super().__init__()
        self.layout = layout
        self.inp = nn.Linear(2, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x):
        n, t, b, _ = x.shape
        states, _ = self.gru(torch.tanh(self.inp(fold_birds(x, self.layout))))
        last = states[-1] if self.layout == "time first" else states[:, -1]
        return self.out(last.reshape(n, b, -1).mean(1))


def parts(variant):
    torch.manual_seed(0)
    model = SwarmNet("time first" if variant == "bad" else "examples first")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*tracks(1500, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*tracks(400, 2)), batch_size=100),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


def test(model, loader):
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(loader.dataset)


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f} {test(model, p['val_loader']):.3f}")
    print(f"score: {test(model, p['val_loader']):.4f}")
