"""Acidity of olive oil from its infrared spectrum, Conv1d, training spectra copied five times with noise; bad: spectra are tiled (abcabc) and acidities repeated (aabbcc), so pairs are wrong; change: repeat both the same way."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def measure(n, seed):
    rng = np.random.default_rng(seed)
    wave = np.linspace(0, 1, 80)
    acid = rng.uniform(0.1, 2.0, n)
    water = rng.uniform(0.2, 1.0, n)
    peak = lambda c, w: np.exp(-((wave - c) / w) ** 2)
    s = acid[:, None] * peak(0.3, 0.05) + water[:, None] * peak(0.36, 0.08) + peak(0.7, 0.1) + rng.normal(0, 0.1, (n, 1)) * wave
    return s + rng.normal(0, 0.02, s.shape), acid


def augment(spectra, acid, copies, rng, same_order):
    if same_order:
        x = np.repeat(spectra, copies, axis=0)
    else:
        x = np.tile(spectra, (copies, 1))
    x = x + rng.normal(0, 0.03, x.shape)
    y = np.repeat(acid, copies)
    return x, y


def to_set(x, y, mean, std):
    x = torch.tensor((x - mean) / std, dtype=torch.float32).unsqueeze(1)
    return TensorDataset(x, torch.tensor(y, dtype=torch.float32).unsqueeze(1))


def parts(variant):
    torch.manual_seed(0)
    spectra, acid = measure(300, 1)
    mean, std = spectra.mean(0), spectra.std(0)
    x, y = augment(spectra, acid, 5, np.random.default_rng(5), same_order=variant != "bad")
    model = nn.Sequential(nn.Conv1d(1, 12, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(12, 16, 5, padding=2), nn.ReLU(), nn.MaxPool1d(4),
                          nn.Flatten(), nn.Linear(160, 32), nn.ReLU(), nn.Linear(32, 1))
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3), loss_fn=nn.SmoothL1Loss(),
                train_loader=DataLoader(to_set(x, y, mean, std), batch_size=50, shuffle=True),
                val_loader=DataLoader(to_set(*measure(150, 2), mean, std), batch_size=150))


# R2
WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        train_loss = 0
        for xb, yb in p["train_loader"]:
            pred = model(xb)
            loss = loss_fn(pred, yb)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train_loss += loss.item() * len(xb)
        print(f"Epoch {epoch + 1}: {train_loss / len(p['train_loader'].dataset):.5f}")
    model.eval()
    with torch.no_grad():
        xb, yb = next(iter(p["val_loader"]))
        score = 1 - ((model(xb) - yb) ** 2).mean() / yb.var()
    print(f"score: {score:.4f}")
