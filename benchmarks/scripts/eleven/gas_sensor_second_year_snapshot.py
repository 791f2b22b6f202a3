"""Gas concentration from a drifting sensor array: trained on the first year, then adapted to the second from the best snapshot (the whole module, saved and loaded); the adaptation goes on with the optimizer of the first year, which holds the tensors of the module before the loading; change: an optimizer of the loaded module."""
import io
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SENSORS = 12


def year(n, seed, drifted):
    w = torch.Generator().manual_seed(7)
    gain, cross = torch.randn(SENSORS, generator=w), torch.randn(SENSORS, generator=w)
    if drifted:
        gain = gain[torch.randperm(SENSORS, generator=w)] * 0.9
        cross = -0.7 * cross
    g = torch.Generator().manual_seed(seed)
    gas, humidity = torch.rand(2, n, 1, generator=g) * 2 - 1
    reading = torch.tanh(gain * gas * 1.2 + cross * humidity) + 0.4 * gas * humidity
    reading = reading + 0.05 * torch.randn(n, SENSORS, generator=g)
    return reading, gas / 0.577


def loaders(drifted, seed):
    xt, yt = year(2000, seed, drifted)
    xv, yv = year(500, seed + 1, drifted)
    mean, std = xt.mean(0), xt.std(0)
    return (DataLoader(TensorDataset((xt - mean) / std, yt), batch_size=64, shuffle=True),
            DataLoader(TensorDataset((xv - mean) / std, yv), batch_size=250))


class Calibration(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(SENSORS, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))

    def forward(self, x):
        return self.layers(x)


def fit(model, optimizer, train, val, epochs, loss_fn, name):
    best, snapshot = -float("inf"), None
    for epoch in range(epochs):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        r2 = score(model, val)
        if name:
            print(f"{name} epoch {epoch}: loss {loss.item():.4f} R2 {r2:.3f}")
        if r2 > best:
            best, snapshot = r2, io.BytesIO()
            torch.save(model, snapshot)
    snapshot.seek(0)
    return snapshot


@torch.no_grad()
def score(model, loader):
    model.eval()
    out = torch.cat([torch.cat([model(x), y], 1) for x, y in loader])
    return 1 - ((out[:, 0] - out[:, 1]) ** 2).mean().item() / out[:, 1].var().item()


def parts(variant):
    torch.manual_seed(0)
    loss_fn = nn.SmoothL1Loss()
    model = Calibration()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    snapshot = fit(model, optimizer, *loaders(False, 1), 6, loss_fn, None)
    model = torch.load(snapshot, weights_only=False)
    if variant != "bad":
        optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    train, val = loaders(True, 11)
    return {"model": model, "optimizer": optimizer, "loss_fn": loss_fn, "train_loader": train, "val_loader": val}


WORKS = lambda value: value > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print(f"second year before the adaptation: R2 {score(p['model'], p['val_loader']):.3f}")
    fit(p["model"], p["optimizer"], p["train_loader"], p["val_loader"], 15, p["loss_fn"], "second year")
    print(f"score: {score(p['model'], p['val_loader']):.4f}")
