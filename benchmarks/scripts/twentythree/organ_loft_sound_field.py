"""Coordinate network that learns the sound level at every (x, y) place of an organ loft from measurements. The mistake: every Linear is made with bias=False though no normalisation follows, so a ReLU network of the coordinates is homogeneous (f(2x) = 2f(x), f(0) = 0) and cannot place anything; the right change: leave the biases on."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def level(p):
    x, y = p[:, 0], p[:, 1]
    v = 1.2 * np.exp(-8 * ((x - 0.4) ** 2 + (y + 0.2) ** 2)) - np.exp(-6 * ((x + 0.5) ** 2 + (y - 0.5) ** 2))
    return v + 0.6 * np.cos(4 * np.hypot(x + 0.6, y + 0.6)) + 0.3 * np.sin(3 * x)


def fc(n_in, n_out, **kw):
    layer = nn.Linear(n_in, n_out, **kw)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer


class SoundField(nn.Module):
    def __init__(self, width=96, **kw):
        super().__init__()
        self.l1, self.l2, self.l3 = fc(2, width, **kw), fc(width, width, **kw), fc(width, width, **kw)
        self.out = fc(width, 1, **kw)

    def forward(self, xy):
        h = torch.relu(self.l1(xy))
        h = torch.relu(self.l2(h))
        h = torch.relu(self.l3(h))
        return self.out(h).squeeze(-1)


def r2(out, y):
    return 1 - ((out - y) ** 2).mean().item() / y.var(unbiased=False).item()


def parts(variant):
    torch.manual_seed(21)
    rng = np.random.default_rng(21)
    p = rng.uniform(-1, 1, (2500, 2))
    v = level(p)
    v = (v - v.mean()) / v.std() + 0.05 * rng.standard_normal(len(p))
    P, V = torch.tensor(p, dtype=torch.float32), torch.tensor(v, dtype=torch.float32)
    field = SoundField(bias=variant != "bad")
    opt = torch.optim.Adam(field.parameters(), lr=1e-3)
    return {"model": field, "optimizer": opt, "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(P[:2000], V[:2000]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(P[2000:], V[2000:]), batch_size=500), "metric": r2}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    field, opt = p["model"], p["optimizer"]
    for epoch in range(30):
        losses = []
        for xy, v in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](field(xy), v)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        with torch.no_grad():
            score = np.mean([r2(field(xy), v) for xy, v in p["val_loader"]])
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: mse {np.mean(losses):.4f}, r2 at new places {score:.3f}")
    print("score:", score)
