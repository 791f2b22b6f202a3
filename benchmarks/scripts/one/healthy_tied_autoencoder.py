"""Healthy: sparse autoencoder with tied weights (the decoder is the encoder's transpose), sigmoid code, sum-reduced loss and an L1 penalty, plain SGD with a small rate; nothing to change."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class TiedAE(nn.Module):
    def __init__(self, d=64, k=48):
        super().__init__()
        self.W = nn.Parameter(torch.randn(k, d) * 0.1)
        self.b, self.c = nn.Parameter(torch.zeros(k)), nn.Parameter(torch.zeros(d))

    def forward(self, x):
        h = torch.sigmoid(F.linear(x, self.W, self.b))
        return F.linear(h, self.W.t(), self.c), h


def loss_fn(out, x):
    rec, h = out
    return ((rec - x) ** 2).sum() + 0.02 * h.abs().sum()


def parts(variant):
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    x = x[torch.randperm(len(x))]
    m = TiedAE()
    return dict(model=m, optimizer=torch.optim.SGD(m.parameters(), lr=1e-3, momentum=0.9), loss_fn=loss_fn,
                train_loader=DataLoader(TensorDataset(x[:1500], x[:1500]), 20, shuffle=True), val_loader=DataLoader(TensorDataset(x[1500:], x[1500:]), 297))


WORKS = lambda score: score < 0.3

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for e in range(40):
        t = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            l = p["loss_fn"](p["model"](x), y)
            l.backward()
            p["optimizer"].step()
            t += l.item()
        if e % 8 == 7: print(e + 1, t / 1500)
    x = next(iter(p["val_loader"]))[0]
    with torch.no_grad():
        print("score:", (((p["model"](x)[0] - x) ** 2).mean() / ((x - x.mean(0)) ** 2).mean()).item())
