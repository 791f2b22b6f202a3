"""Small decoder that has to clap back a rhythm of ten beats; scaled_dot_product_attention gets a boolean mask made with triu as for nn.MultiheadAttention, but there True means 'may look', so every position sees the future only: training and validation loss become small while generation is wrong; the right change: tril (True where looking is allowed)."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
SYMBOLS, LENGTH = 8, 10       # rest, left, right, both, knee, snap, stamp, tap
BAR = SYMBOLS                 # token between call and answer
BLOCK = 2 * LENGTH


class CallAndResponse(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.calls = torch.randint(0, SYMBOLS, (n, LENGTH), generator=g)

    def __len__(self):
        return len(self.calls)

    def __getitem__(self, i):
        call = self.calls[i]
        seq = torch.cat([call, torch.tensor([BAR]), call])
        return seq[:-1], seq[1:]


class SelfAttention(nn.Module):
    def __init__(self, dim, heads, mask):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.register_buffer("mask", mask)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (a.view(B, T, self.heads, -1).transpose(1, 2) for a in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask[:T, :T])
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class Layer(nn.Module):
    def __init__(self, dim, heads, mask):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = SelfAttention(dim, heads, mask)
        self.ff = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        x = x + self.attn(self.n1(x))
        return x + self.ff(self.n2(x))


class RhythmGPT(nn.Module):
    def __init__(self, mask, dim=64, heads=4, layers=2):
        super().__init__()
        self.tok = nn.Embedding(SYMBOLS + 1, dim)
        self.pos = nn.Embedding(BLOCK, dim)
        self.layers = nn.ModuleList([Layer(dim, heads, mask) for _ in range(layers)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, SYMBOLS + 1)

    def forward(self, idx):
        x = self.tok(idx) + self.pos.weight[:idx.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def loss_fn(logits, target):
    # only the answer counts
    return F.cross_entropy(logits[:, LENGTH:].reshape(-1, SYMBOLS + 1), target[:, LENGTH:].reshape(-1))


@torch.no_grad()
def echo(model, calls):
    model.eval()
    seq = torch.cat([calls, torch.full((len(calls), 1), BAR)], 1)
    for _ in range(LENGTH):
        nxt = model(seq)[:, -1].argmax(-1, keepdim=True)
        seq = torch.cat([seq, nxt], 1)
    model.train()
    return (seq[:, LENGTH + 1:] == calls).float().mean().item()


def parts(variant):
    torch.manual_seed(3)
    full = torch.ones(BLOCK, BLOCK, dtype=torch.bool)
    mask = torch.triu(full, diagonal=1) if variant == "bad" else torch.tril(full)
    model = RhythmGPT(mask)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01), "loss_fn": loss_fn,
            "train_loader": DataLoader(CallAndResponse(6400, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(CallAndResponse(256, 1), batch_size=256)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(6):
        tot = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            tot += loss.item()
        score = echo(model, p["val_loader"].dataset.calls)
        print(f"epoch {epoch}: loss {tot / len(p['train_loader']):.4f}, echoed beats {score:.3f}")
    print("score:", score)
