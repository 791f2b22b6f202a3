"""Masked autoregressive density estimator (MADE) of binary 8x8 weaving drafts. The mistake: Adam with a learning rate of 0.5, which throws the masked weights to and fro so that the likelihood ends no better than independent pixels or far worse; the right change: lr=0.005."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
D = 64


def drafts(n, seed):
    """Twills: a threading (period 2..4) moved by one or two per pick, some picks floated."""
    rng = np.random.default_rng(seed)
    out = np.zeros((n, 8, 8), dtype=np.float32)
    for i in range(n):
        period, step, start = rng.integers(2, 5), rng.choice([-1, 1, 2]), rng.integers(0, 4)
        width = rng.integers(1, period)
        for r in range(8):
            out[i, r] = ((np.arange(8) + start + r * step) % period) < width
    flip = rng.random(out.shape) < 0.03
    return torch.tensor(np.abs(out - flip).reshape(n, D).astype(np.float32))


class MaskedLinear(nn.Linear):
    def set_mask(self, mask):
        self.register_buffer("mask", mask.float())
        return self

    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)


class MADE(nn.Module):
    def __init__(self, hidden=160):
        super().__init__()
        d_in, d_h = torch.arange(1, D + 1), torch.arange(hidden) % (D - 1) + 1
        self.fc1 = MaskedLinear(D, hidden).set_mask(d_h[:, None] >= d_in[None])
        self.fc2 = MaskedLinear(hidden, hidden).set_mask(d_h[:, None] >= d_h[None])
        self.out = MaskedLinear(hidden, D).set_mask(d_in[:, None] > d_h[None])

    def forward(self, x):
        return self.out(F.relu(self.fc2(F.relu(self.fc1(x)))))


def nll(logits, x):
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1).mean()


def bits_saved(logits, x):
    """nats per draft below independent pixels"""
    p = x.mean(0).clamp(1e-3, 1 - 1e-3)
    indep = -(p * p.log() + (1 - p) * (1 - p).log()).sum().item()
    return indep - nll(logits, x).item()


def parts(variant):
    torch.manual_seed(12)
    X, V = drafts(2000, 1), drafts(500, 2)
    net = MADE()
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=0.5 if variant == "bad" else 0.005), "loss_fn": nll,
            "train_loader": DataLoader(TensorDataset(X, X), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(V, V), batch_size=500), "metric": bits_saved}


WORKS = lambda score: score > 15

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        losses = []
        for x, _ in p["train_loader"]:
            loss = nll(net(x), x)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        with torch.no_grad():
            score = np.mean([bits_saved(net(x), x) for x, _ in p["val_loader"]])
        print(f"epoch {epoch}: train nll {np.mean(losses):.2f}  nats saved on new drafts {score:.2f}")
    print("score:", score)
