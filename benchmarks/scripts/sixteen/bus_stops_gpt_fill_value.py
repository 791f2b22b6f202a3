"""A tiny GPT over the sequences of stops that buses call at, self-written attention; bad: scores above the diagonal are filled with 1e-9, not -1e9, so every position reads the following stops and nothing is learned for forecasting; change: float('-inf')."""
import math
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

STOPS, T = 24, 16


class Attention(nn.Module):
    def __init__(self, d, heads, fill):
        super().__init__()
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.heads, self.fill = heads, fill
        self.register_buffer("mask", torch.tril(torch.ones(T, T)))

    def forward(self, x):
        B, L, D = x.shape
        q, k, v = (t.view(B, L, self.heads, D // self.heads).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        att = q @ k.transpose(-2, -1) / math.sqrt(D // self.heads)
        att = att.masked_fill(self.mask[:L, :L] == 0, self.fill)
        y = F.softmax(att, -1) @ v
        return self.proj(y.transpose(1, 2).reshape(B, L, D))


class Block(nn.Module):
    def __init__(self, d, heads, fill):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.att = Attention(d, heads, fill)
        self.ff = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        x = x + self.att(self.ln1(x))
        return x + self.ff(self.ln2(x))


class StopGPT(nn.Module):
    def __init__(self, fill, d=32, heads=2, depth=2):
        super().__init__()
        self.tok, self.pos = nn.Embedding(STOPS, d), nn.Embedding(T, d)
        self.blocks = nn.Sequential(*[Block(d, heads, fill) for _ in range(depth)])
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, STOPS)

    def forward(self, idx):
        x = self.tok(idx) + self.pos(torch.arange(idx.shape[1]))
        return self.head(self.ln(self.blocks(x)))


def trips(n):
    g = torch.Generator().manual_seed(5)
    lines = torch.stack([torch.randperm(STOPS, generator=g) for _ in range(3)])
    line = torch.randint(0, 3, (n,), generator=g)
    start = torch.randint(0, STOPS, (n,), generator=g)
    seq = lines[line[:, None], (start[:, None] + torch.arange(T + 1)) % STOPS]
    noise = torch.rand(seq.shape, generator=g) < 0.03
    return torch.where(noise, torch.randint(0, STOPS, seq.shape, generator=g), seq)


def lm_loss(logits, target):
    return F.cross_entropy(logits.reshape(-1, STOPS), target.reshape(-1))


def parts(variant):
    torch.manual_seed(0)
    s = trips(2400)
    model = StopGPT(1e-9 if variant == "bad" else float("-inf"))
    ds = TensorDataset(s[:, :-1], s[:, 1:])
    train, val = torch.utils.data.Subset(ds, range(2000)), torch.utils.data.Subset(ds, range(2000, 2400))
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3), loss_fn=lm_loss,
                train_loader=DataLoader(train, 32, shuffle=True), val_loader=DataLoader(val, 100))


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        tot = 0
        for x, y in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            tot += loss.item()
        print(f"epoch {epoch}: loss {tot / len(p['train_loader']):.3f}")
    model.eval()
    hit = n = 0
    with torch.no_grad():
        for x, y in p["val_loader"]:
            ctx = x[:, :8]
            for k in range(4):
                nxt = model(ctx)[:, -1].argmax(-1)
                hit += (nxt == x[:, 8 + k]).sum().item()
                n += len(x)
                ctx = torch.cat([ctx, nxt[:, None]], 1)
    score = hit / n
    print(f"score: {score:.4f}")
