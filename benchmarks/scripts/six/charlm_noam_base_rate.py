"""Character language model of the torch.nn docstrings with the Noam schedule; the schedule is given as a factor on lr=1e-3, where the paper's formula is the rate itself; change: lr=1.0."""
import re
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import LambdaLR

BLOCK, BATCH, D_MODEL, WARMUP = 48, 16, 96, 200


def corpus():
    text = "\n".join(getattr(nn, n).__doc__ or "" for n in sorted(dir(nn)) if n[0].isupper())
    text = re.sub(r"[^a-z0-9 .,:()\n=_-]", "", text.lower())
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    cut = int(0.9 * len(ids))
    return ids[:cut], ids[cut:], len(chars)


class Block(nn.Module):
    def __init__(self, d, heads=4):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.heads = heads

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.ln2(x))


class CharLM(nn.Module):
    def __init__(self, vocab):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, D_MODEL), nn.Embedding(BLOCK, D_MODEL)
        nn.init.normal_(self.tok.weight, std=0.02)
        nn.init.normal_(self.pos.weight, std=0.02)
        self.blocks = nn.Sequential(Block(D_MODEL), Block(D_MODEL))
        self.ln = nn.LayerNorm(D_MODEL)
        self.head = nn.Linear(D_MODEL, vocab)

    def forward(self, x):
        return self.head(self.ln(self.blocks(self.tok(x) + self.pos.weight[:x.size(1)])))


def noam(step):
    step = max(step, 1)
    return D_MODEL ** -0.5 * min(step ** -0.5, step * WARMUP ** -1.5)


def windows(ids, n, seed):
    g = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        i = torch.randint(0, len(ids) - BLOCK - 1, (BATCH, 1), generator=g) + torch.arange(BLOCK + 1)
        out.append((ids[i[:, :-1]], ids[i[:, 1:]]))
    return out


def parts(variant):
    torch.manual_seed(1337)
    train, val, vocab = corpus()
    model = CharLM(vocab)
    lr = 1e-3 if variant == "bad" else 1.0
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.98), eps=1e-9)
    return {"model": model, "optimizer": optimizer, "scheduler": LambdaLR(optimizer, noam),
            "train_loader": windows(train, 400, 0), "val_loader": windows(val, 10, 1),
            "loss_fn": lambda logits, y: F.cross_entropy(logits.flatten(0, 1), y.flatten())}


WORKS = lambda score: score < 2.35

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, sched = p["model"], p["optimizer"], p["scheduler"]
    for it, (x, y) in enumerate(p["train_loader"]):
        loss = p["loss_fn"](model(x), y)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        sched.step()
        if it % 75 == 0:
            print(f"iter {it} loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        val = sum(p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
    print(f"score: {val:.4f}")
