"""Activity of a new wearer from accelerometer windows: a net fitted to other people is copied and adapted to the wearer, but the optimizer was made for the net that was copied from, so the copy stays as it was; change: the optimizer is made for the copy."""
import copy
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

T, CLASSES = 40, 6


def windows(n, seed, turn=0.0):
    """Six activities with their own rhythm and axis; `turn` is how the device sits on the belt."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, CLASSES, (n,), generator=g)
    t = torch.arange(T).float()
    freq = torch.where(y % 2 == 0, 0.06, 0.13).unsqueeze(1) * (0.9 + 0.2 * torch.rand(n, 1, generator=g))
    wave = torch.sin(2 * math.pi * (freq * t + torch.rand(n, 1, generator=g)))
    x = 0.5 * torch.randn(n, 3, T, generator=g)
    x[torch.arange(n), y // 2] += 1.6 * wave
    c, s = math.cos(turn), math.sin(turn)
    r = torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ torch.tensor([[1.0, 0, 0], [0, c, -s], [0, s, c]])
    x = torch.einsum("ij,njt->nit", r, x)
    return (x / 0.82), y


def build():
    return nn.Sequential(nn.Conv1d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(),
                         nn.AdaptiveMaxPool1d(4), nn.Flatten(), nn.Linear(128, CLASSES))


def fit(net, opt, loader, epochs, say=None):
    for epoch in range(epochs):
        net.train()
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
        if say:
            say(epoch, loss.item())


def parts(variant):
    torch.manual_seed(0)
    base = build()
    others = DataLoader(TensorDataset(*windows(1500, 1)), batch_size=50, shuffle=True)
    optimizer = torch.optim.SGD(base.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    fit(base, optimizer, others, 5)
    personal = copy.deepcopy(base)                  # the common net is kept for the next wearer
    if variant == "fixed":
        optimizer = torch.optim.SGD(personal.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    return {
        "model": personal,
        "optimizer": optimizer,
        "loss_fn": F.cross_entropy,
        "train_loader": DataLoader(TensorDataset(*windows(600, 11, turn=0.9)), batch_size=30, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*windows(600, 12, turn=0.9)), batch_size=300),
    }


@torch.no_grad()
def accuracy(net, loader):
    net.eval()
    return torch.cat([net(x).argmax(1) == y for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("before adapting:", accuracy(p["model"], p["val_loader"]))
    fit(p["model"], p["optimizer"], p["train_loader"], 15,
        lambda e, l: print(f"epoch {e}: loss {l:.3f}, accuracy {accuracy(p['model'], p['val_loader']):.3f}"))
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
