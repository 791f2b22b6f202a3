"""Character bigram model with SGD at a rate of 50, healthy: one table of logits, tiny gradients per row, a loss that can't go under the entropy of the text; no mistake."""
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

V = 27
WORKS = lambda excess: excess < 0.1


def transition_matrix():
    rng = np.random.default_rng(12)
    logits = rng.normal(0, 2.0, (V, V))
    p = np.exp(logits)
    return p / p.sum(1, keepdims=True)


def sample_text(n, seed):
    rng, P = np.random.default_rng(seed), transition_matrix().cumsum(1)
    out, c = np.empty(n, dtype=np.int64), 0
    for i, u in enumerate(rng.random(n)):
        c = min(int(np.searchsorted(P[c], u)), V - 1)
        out[i] = c
    return torch.from_numpy(out)


class Bigram(nn.Module):
    def __init__(self):
        super().__init__()
        self.W = nn.Parameter(torch.randn(V, V))

    def forward(self, idx):
        return F.one_hot(idx, V).float() @ self.W


def parts(variant="fixed"):
    torch.manual_seed(2147483647)
    text, held_out = sample_text(60000, 0), sample_text(15000, 1)
    model = Bigram()
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=50.0),
            "train_loader": list(zip(text[:-1].split(4000), text[1:].split(4000))),
            "val_loader": list(zip(held_out[:-1].split(5000), held_out[1:].split(5000))),
            "loss_fn": nn.CrossEntropyLoss()}


def entropy_rate():
    P = transition_matrix()
    pi = np.linalg.matrix_power(P, 200)[0]
    return float(-(pi[:, None] * P * np.log(P)).sum())


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    floor = entropy_rate()
    for k in range(200):
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            model.W.grad = None
            loss.backward()
            optimizer.step()
        if k % 20 == 19:
            with torch.no_grad():
                val = np.mean([p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]])
            print(f"pass {k + 1}: train {loss.item():.4f} held out {val:.4f} (entropy of the source {floor:.4f})")
    print("score:", round(val - floor, 4))
