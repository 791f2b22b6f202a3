"""Sound: one encoder for a ski resort's table, two heads (visitors, standardised; snow class of four), the losses added with fixed weights. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def resorts(n, seed):
    r = np.random.RandomState(seed)
    X = r.normal(0, 1, (n, 10)).astype(np.float32)
    visitors = 1.2 * X[:, 0] + np.sin(2 * X[:, 1]) + 0.6 * X[:, 2] * X[:, 3] + 0.2 * r.randn(n)
    depth = X[:, 4] + 0.8 * X[:, 5] - 0.5 * X[:, 0] + 0.15 * r.randn(n)
    f = lambda a: torch.tensor(a, dtype=torch.float32)
    return TensorDataset(f(X), f(visitors / 1.7), torch.tensor(np.digitize(depth, [-0.9, 0, 0.9])))


class ResortNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(10, 96), nn.LayerNorm(96), nn.GELU(), nn.Linear(96, 64), nn.LayerNorm(64), nn.GELU())
        self.visitors = nn.Linear(64, 1)
        self.snow = nn.Linear(64, 4)

    def forward(self, x):
        h = self.encoder(x)
        return self.visitors(h)[:, 0], self.snow(h)


def training_step(model, batch):
    x, visitors, snow = batch
    v, s = model(x)
    return F.mse_loss(v, visitors) + 0.5 * F.cross_entropy(s, snow)


def parts(variant):
    torch.manual_seed(0)
    model = ResortNet()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
            "training_step": training_step, "train_loader": DataLoader(resorts(3000, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(resorts(600, 1), batch_size=200)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad(set_to_none=True)
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            x, visitors, snow = (torch.cat(t) for t in zip(*p["val_loader"]))
            v, s = model(x)
        r2 = 1 - F.mse_loss(v, visitors).item() / visitors.var().item()
        acc = (s.argmax(1) == snow).float().mean().item()
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} r2 {r2:.4f} snow acc {acc:.4f}")
    score = min(r2, acc)
    print(f"score: {score:.4f}")
