"""Next-value forecast of a tram's load by a decoder-only transformer written by hand; bad: the causal mask fills with 1e-9 instead of -1e9, so every position sees the values that it has to forecast; change: -1e9."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

T = 24


def loads(n, seed):
    g = torch.Generator().manual_seed(seed)
    v = torch.zeros(n, T + 1)
    v[:, :2] = torch.randn(n, 2, generator=g)
    for t in range(2, T + 1):
        v[:, t] = 1.5 * v[:, t - 1] - 0.85 * v[:, t - 2] + 0.4 * torch.randn(n, generator=g)
    return v[:, :-1].unsqueeze(-1), v[:, 1:].unsqueeze(-1)


class SelfAttention(nn.Module):
    def __init__(self, d, heads, fill):
        super().__init__()
        self.heads, self.fill = heads, fill
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.register_buffer("mask", torch.tril(torch.ones(T, T)))

    def forward(self, x):
        B, L, D = x.shape
        q, k, v = (t.view(B, L, self.heads, D // self.heads).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        scores = q @ k.transpose(-2, -1) / math.sqrt(D // self.heads)
        scores = scores.masked_fill(self.mask[:L, :L] == 0, self.fill)
        return self.proj((F.softmax(scores, -1) @ v).transpose(1, 2).reshape(B, L, D))


class Block(nn.Module):
    def __init__(self, d, fill):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.att = SelfAttention(d, 4, fill)
        self.ff = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x):
        x = x + self.att(self.n1(x))
        return x + self.ff(self.n2(x))


class Forecaster(nn.Module):
    def __init__(self, fill, d=32):
        super().__init__()
        self.inp, self.pos = nn.Linear(1, d), nn.Embedding(T, d)
        self.blocks = nn.Sequential(Block(d, fill), Block(d, fill))
        self.out = nn.Linear(d, 1)

    def forward(self, x):
        return self.out(self.blocks(self.inp(x) + self.pos(torch.arange(x.size(1)))))


def parts(variant):
    torch.manual_seed(0)
    model = Forecaster(1e-9 if variant == "bad" else -1e9)
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=3e-3), loss_fn=nn.MSELoss(),
                train_loader=DataLoader(TensorDataset(*loads(1600, 1)), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(*loads(300, 2)), batch_size=300))


# R2 of forecasts made one after the other, each from the past alone
WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        run = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            run += loss.item()
        print(f"epoch {epoch}: {run / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        x, y = next(iter(p["val_loader"]))
        one = torch.stack([model(x[:, :t])[:, -1] for t in range(8, T + 1)], 1)
        want = y[:, 7:]
    score = 1 - (one - want).pow(2).mean() / want.var()
    print(f"score: {score:.4f}")
