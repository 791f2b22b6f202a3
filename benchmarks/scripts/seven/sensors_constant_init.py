"""Recognises activities from phone sensor statistics with an MLP that has its own weight initialisation; mistake: every weight of a layer gets the same constant, so all units of a layer stay alike; change: normal weights of that size."""
import sys

import numpy as np
import torch
from torch import nn

ACTIVITIES = ["walk", "run", "stairs", "cycle", "sit", "stand"]


def recordings(n, seed):
    """Mean, spread, energy and dominant frequency of three axes, for short recordings."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, len(ACTIVITIES), n)
    rate = np.array([1.8, 2.8, 1.5, 1.3, 0.0, 0.0])[y]
    force = np.array([1.0, 2.4, 1.2, 0.7, 0.04, 0.05])[y]
    tilt = np.array([0.0, 0.1, 0.35, 0.9, 1.3, 0.05])[y]
    t = np.arange(64) / 25
    rows = []
    for r, f, a in zip(rate, force, tilt):
        phase, a = rng.uniform(0, 6.28), a + rng.normal(0, 0.12)
        r, f = r * rng.normal(1, 0.06), f * rng.lognormal(0, 0.2)
        gravity = np.array([np.sin(a), np.cos(a), 0.15])
        wave = np.stack([0.5 * np.sin(2 * np.pi * r * t + phase), np.sin(4 * np.pi * r * t + phase), 0.3 * np.cos(2 * np.pi * r * t)])
        signal = gravity[:, None] + f * wave + rng.normal(0, 0.15, wave.shape)
        spectrum = np.abs(np.fft.rfft(signal - signal.mean(1, keepdims=True), axis=1))
        rows.append(np.concatenate([signal.mean(1), signal.std(1), np.abs(np.diff(signal, axis=1)).mean(1), spectrum[:, 1:].argmax(1), np.log(spectrum.max(1))]))
    return np.array(rows, dtype=np.float32), y


def init_weights(module, variant):
    if isinstance(module, nn.Linear):
        scale = 1.0 / module.in_features ** 0.5
        if variant == "fixed":
            nn.init.normal_(module.weight, 0.0, scale)
        else:
            nn.init.constant_(module.weight, scale)
        nn.init.zeros_(module.bias)


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, y = recordings(3000, 0)
    xv, yv = recordings(800, 1)
    mean, std = x.mean(0), x.std(0)
    x, xv = torch.from_numpy((x - mean) / std), torch.from_numpy((xv - mean) / std)
    y, yv = torch.from_numpy(y), torch.from_numpy(yv)
    model = nn.Sequential(nn.Linear(x.shape[1], 128), nn.Tanh(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, len(ACTIVITIES)))
    model.apply(lambda m: init_weights(m, variant))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32, shuffle=True)
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9),
        "train_loader": loader,
        "val_loader": [(xv, yv)],
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    mlp, sgd = p["model"], p["optimizer"]
    for epoch in range(42):
        mlp.train()
        for x, y in p["train_loader"]:
            sgd.zero_grad()
            loss = p["loss_fn"](mlp(x), y)
            loss.backward()
            sgd.step()
        if (epoch + 1) % 3 == 0:
            mlp.eval()
            x, y = p["val_loader"][0]
            with torch.no_grad():
                out = mlp(x)
            print(f"epoch {epoch + 1}: last batch loss {loss.item():.4f}, val loss {p['loss_fn'](out, y).item():.4f}, val acc {p['metric'](out, y).item():.4f}")
    print(f"score: {p['metric'](out, y).item():.4f}")
