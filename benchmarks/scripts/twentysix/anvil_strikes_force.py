"""1D convolution on the accelerometer trace of an anvil: how hard was the blow of the hammer, in kN? Each trace is brought to mean 0 and spread 1 by itself, which takes away the amplitude, and with it the force; the right change: mean and spread of all training traces together."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
LENGTH = 128


def smithy(n, rng):
    t = np.arange(LENGTH)
    force = np.clip(rng.lognormal(2.3, 0.5, n), 2, 45)
    place = rng.uniform(0, 1, n)                      # 0: face, 1: horn
    start = rng.integers(5, 25, n)
    traces = np.zeros((n, LENGTH))
    for i in range(n):
        s = np.clip(t - start[i], 0, None)
        on = (t >= start[i])
        f1, f2 = 0.11 + 0.02 * place[i], 0.27 - 0.04 * place[i]
        ring = np.exp(-s / 30) * np.sin(2 * np.pi * f1 * s) + 0.5 * np.exp(-s / 14) * np.sin(2 * np.pi * f2 * s + rng.uniform(0, 6.3))
        gain = force[i] * (1 + 0.15 * place[i]) * rng.normal(1.0, 0.04)
        traces[i] = gain * (on * ring + 0.05 * rng.normal(size=LENGTH)) + 9.81 * 0.1
    return traces.astype(np.float32), force.astype(np.float32)


class BlowNet(nn.Module):
    def __init__(self, channels=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, channels, 9, stride=2, padding=4), nn.ReLU(),
            nn.Conv1d(channels, 2 * channels, 7, stride=2, padding=3), nn.ReLU(),
            nn.Conv1d(2 * channels, 2 * channels, 5, stride=2, padding=2), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(4 * channels, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        h = self.features(x.unsqueeze(1))
        h = torch.cat([h.amax(-1), h.mean(-1)], 1)
        return self.head(h).squeeze(1)


def r_squared(outputs, targets):
    return (1 - (outputs - targets).pow(2).sum() / (targets - targets.mean()).pow(2).sum()).item()


def parts(variant):
    torch.manual_seed(9)
    rng = np.random.default_rng(9)
    traces, force = smithy(2500, rng)
    cut = 2000
    if variant == "bad":
        mean, std = traces.mean(axis=1, keepdims=True), traces.std(axis=1, keepdims=True)
    else:
        mean, std = traces[:cut].mean(), traces[:cut].std()
    x = torch.from_numpy((traces - mean) / (std + 1e-6))
    y = torch.from_numpy((force - force[:cut].mean()) / force[:cut].std())
    model = BlowNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3),
            "loss_fn": nn.SmoothL1Loss(), "metric": r_squared,
            "train_loader": DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[cut:], y[cut:]), batch_size=500)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    epochs = 8
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=3e-3, total_steps=epochs * len(p["train_loader"]))
    for epoch in range(epochs):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            sched.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](net(x), y)
        if epoch % 3 == 1:
            print(f"epoch {epoch + 1}: train loss {np.mean(losses):.4f}, val R2 {score:.3f}")
    print("score:", score)
