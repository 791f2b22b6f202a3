"""Key-value recall with hand-written multi-head attention: heads are split by view(B, H, T, d) without the transpose, so each head sees only its own quarter of the sequence; change: view(B, T, H, d).transpose(1, 2)."""
import sys, math, torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

KEYS, VALS, PAIRS = 24, 8, 15

def recall(n, seed):
    g = torch.Generator().manual_seed(seed)
    k = torch.rand(n, KEYS, generator=g).argsort(1)[:, :PAIRS]
    v = torch.randint(0, VALS, (n, PAIRS), generator=g)
    q = torch.randint(0, PAIRS, (n, 1), generator=g)
    keys = torch.cat([k, k.gather(1, q)], 1)
    vals = torch.cat([v, torch.full((n, 1), VALS)], 1)                   # the query has no value
    return TensorDataset(torch.stack([keys, vals], 1), v.gather(1, q).squeeze(1))

class MultiHeadAttention(nn.Module):
    def __init__(self, dim, heads, swap):
        super().__init__()
        self.h, self.swap = heads, swap
        self.qkv, self.o = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
    def split(self, x):
        B, T, C = x.shape
        if self.swap:
            return x.view(B, T, self.h, C // self.h).transpose(1, 2)
        return x.view(B, self.h, T, C // self.h)
    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (self.split(t.contiguous()) for t in self.qkv(x).chunk(3, -1))
        att = (q @ k.transpose(-2, -1) / math.sqrt(C // self.h)).softmax(-1)
        y = att @ v
        y = y.transpose(1, 2).reshape(B, T, C) if self.swap else y.reshape(B, T, C)
        return self.o(y)

class Recall(nn.Module):
    def __init__(self, swap, d=64):
        super().__init__()
        self.key, self.val = nn.Embedding(KEYS, d), nn.Embedding(VALS + 1, d)
        self.att, self.n1, self.n2 = MultiHeadAttention(d, 4, swap), nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp, self.out = nn.Sequential(nn.Linear(d, 128), nn.GELU(), nn.Linear(128, d)), nn.Linear(d, VALS)
    def forward(self, kv):
        x = self.key(kv[:, 0]) + self.val(kv[:, 1])
        x = x + self.att(self.n1(x)); x = x + self.mlp(self.n2(x))
        return self.out(x[:, -1])

def parts(variant):
    torch.manual_seed(0)
    m = Recall(variant == "fixed")
    return {"model": m, "optimizer": torch.optim.AdamW(m.parameters(), lr=2e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(recall(10000, 0), 64, shuffle=True), "val_loader": DataLoader(recall(1000, 1), 250)}

WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); m = p["model"]
    for epoch in range(8):
        tot = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](m(x), y); p["optimizer"].zero_grad(); loss.backward(); p["optimizer"].step(); tot += loss.item()
        print(f"epoch {epoch} loss {tot / len(p['train_loader']):.4f}")
    with torch.no_grad():
        print("score:", sum((m(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / 1000)
