"""Autoencoder for 16x16 lace patterns trained with SGD and momentum. The mistake: momentum=0.99 together with the large rate, so the steps add up to a hundredfold and the loss swings up and down without settling; the right change: momentum=0.9."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def lace(n, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:16, :16] / 16.0
    out = np.zeros((n, 16, 16), dtype=np.float32)
    for i in range(n):
        fx, fy = rng.uniform(0.5, 2.5, 2)
        px, py = rng.uniform(0, 2 * np.pi, 2)
        a = np.sin(2 * np.pi * fx * xx + px) * np.sin(2 * np.pi * fy * yy + py)
        r = np.hypot(xx - rng.uniform(0.3, 0.7), yy - rng.uniform(0.3, 0.7))
        out[i] = 1 / (1 + np.exp(-5 * (a + np.exp(-20 * r ** 2) - 0.2)))
    return torch.tensor(out.reshape(n, -1))


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(256, 128), nn.Tanh(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 16))
        self.decoder = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 256))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def explained(out, x):
    return 1 - ((out - x) ** 2).mean().item() / ((x - x.mean(0)) ** 2).mean().item()


def parts(variant):
    torch.manual_seed(8)
    X, V = lace(3000, 1), lace(500, 2)
    net = AutoEncoder()
    opt = torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.99 if variant == "bad" else 0.9)
    return {"model": net, "optimizer": opt, "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(X, X), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(V, V), batch_size=500), "metric": explained}


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    scores = []
    for epoch in range(25):
        total = 0.0
        for x, target in p["train_loader"]:
            recon = net(x)
            loss = p["loss_fn"](recon, target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(x)
        with torch.no_grad():
            scores.append(np.mean([explained(net(x), t) for x, t in p["val_loader"]]))
        print(f"epoch {epoch + 1}/25, loss {total / 3000:.4f}, explained {scores[-1]:.3f}")
    print("score:", np.mean(scores[-5:]))
