"""Small GPT on notated dance steps (the next step depends on the last two) with the output layer tied to the token embedding, which keeps the default N(0, 1) initialisation; the first logits are huge, the loss starts far above log(vocab) and the run ends before it has recovered; the right change: initialise the embeddings with std 0.02 as GPT-2 does."""
import sys
import math
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
VOCAB, BLOCK, DIM = 32, 32, 128


def dances(rng, n):
    table = np.random.default_rng(99).integers(0, VOCAB, (8, VOCAB))
    seq = np.zeros((n, BLOCK + 1), dtype=np.int64)
    seq[:, :2] = rng.integers(0, VOCAB, (n, 2))
    for t in range(2, BLOCK + 1):
        nxt = table[seq[:, t - 2] % 8, seq[:, t - 1]]
        free = rng.random(n) < 0.15
        seq[:, t] = np.where(free, rng.integers(0, VOCAB, n), nxt)
    return torch.from_numpy(seq)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.heads = heads

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, C))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, emb_std=None, layers=2, heads=4):
        super().__init__()
        self.tok = nn.Embedding(VOCAB, DIM)
        self.pos = nn.Embedding(BLOCK, DIM)
        self.blocks = nn.Sequential(*[Block(DIM, heads) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, VOCAB, bias=False)
        self.head.weight = self.tok.weight
        if emb_std is not None:
            nn.init.normal_(self.tok.weight, std=emb_std)
            nn.init.normal_(self.pos.weight, std=emb_std)

    def forward(self, idx):
        x = self.tok(idx) + self.pos(torch.arange(idx.shape[1]))
        return self.head(self.ln_f(self.blocks(x)))


def lm_loss(logits, target):
    return F.cross_entropy(logits.reshape(-1, VOCAB), target.reshape(-1))


def next_step_accuracy(logits, target):
    return (logits.argmax(-1) == target).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    train, val = dances(rng, 6400), dances(rng, 256)
    model = GPT(emb_std=None if variant == "bad" else 0.02)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=5e-4), "loss_fn": lm_loss,
            "train_loader": DataLoader(TensorDataset(train[:, :-1], train[:, 1:]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(val[:, :-1], val[:, 1:]), batch_size=64), "metric": next_step_accuracy}


WORKS = lambda score: score > 0.72

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    it = 0
    for epoch in range(3):
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if it % 50 == 0:
                print(f"iter {it}: loss {loss.item():.3f} (uniform {math.log(VOCAB):.3f})")
            it += 1
        model.eval()
        with torch.no_grad():
            acc = np.mean([next_step_accuracy(model(x), y) for x, y in p["val_loader"]])
        model.train()
        print(f"epoch {epoch}: val acc {acc:.3f}")
    print("score:", acc)
