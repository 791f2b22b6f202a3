"""Net that weighs eight assets by softmax and maximises the Sharpe ratio of the batch: the loss is negative, needs no target, and belongs to the batch as a whole; returns are of the order of 0.01; sound."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def market(n, gen):
    signal = torch.randn(n, 8, generator=gen)
    noise = torch.randn(n, 8, generator=gen) + 0.5 * torch.randn(n, 1, generator=gen)
    future = 0.002 * torch.tanh(signal) + 0.01 * noise
    features = torch.cat([signal + 0.5 * torch.randn(n, 8, generator=gen), torch.randn(n, 8, generator=gen)], 1)
    return features, future


class Allocator(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 8))

    def forward(self, features):
        return torch.softmax(self.net(features), 1)


def negative_sharpe(weights, future):
    gain = (weights * future).sum(1)
    return -gain.mean() / (gain.std() + 1e-6) * 252 ** 0.5


def parts(variant):
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(21)
    xt, rt = market(6000, gen)
    xv, rv = market(3000, gen)
    model = Allocator()
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01),
            "loss_fn": negative_sharpe,
            "train_loader": DataLoader(TensorDataset(xt, rt), batch_size=250, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(xv, rv), batch_size=3000)}


WORKS = lambda score: score > 1.2       # gain in the yearly Sharpe ratio over equal weights, unseen days

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(30):
        model.train()
        total = 0.0
        for features, future in p["train_loader"]:
            loss = p["loss_fn"](model(features), future)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch:2d} loss {total / len(p['train_loader']):.3f}")
    model.eval()
    with torch.no_grad():
        features, future = next(iter(p["val_loader"]))
        mine = -p["loss_fn"](model(features), future)
        equal = -p["loss_fn"](torch.full_like(future, 1 / 8), future)
    print(f"sharpe {mine:.2f}, equal weights {equal:.2f}")
    print(f"score: {mine - equal:.4f}")
