"""Small GPT (nn.MultiheadAttention) on telegram-like lines; mistake: the mask is tril(ones) as bool, but True means "may not look" there, so the last row is blocked throughout and the softmax gives NaN; change: triu(ones, 1)."""
import sys
import random
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader

GOODS = ["wheat", "barley", "copper", "linen", "sugar", "tea", "coal", "hemp"]
TOWNS = ["hull", "bergen", "riga", "leith", "cork"]


def write_text(lines, seed):
    r = random.Random(seed)
    return "".join(f"{r.choice(GOODS)} at {r.choice(TOWNS)} {r.choice(['up', 'down'])} stop\n" for _ in range(lines))


CHARS = sorted(set(write_text(300, 0)))
STOI = {c: i for i, c in enumerate(CHARS)}
BLOCK = 48


class Blocks(Dataset):
    def __init__(self, text, n, seed):
        self.ids = torch.tensor([STOI[c] for c in text])
        self.starts = torch.randint(0, len(text) - BLOCK - 1, (n,), generator=torch.Generator().manual_seed(seed))

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        s = self.starts[i]
        return self.ids[s:s + BLOCK], self.ids[s + 1:s + BLOCK + 1]


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x, mask):
        h = self.n1(x)
        h, _ = self.attn(h, h, h, attn_mask=mask)
        x = x + h
        return x + self.mlp(self.n2(x))


class TinyGPT(nn.Module):
    def __init__(self, mask, d=64, heads=4, layers=2):
        super().__init__()
        self.tok = nn.Embedding(len(CHARS), d)
        self.pos = nn.Embedding(BLOCK, d)
        self.blocks = nn.ModuleList([Block(d, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, len(CHARS), bias=False)
        self.register_buffer("mask", mask)

    def forward(self, idx):
        T = idx.size(1)
        x = self.tok(idx) + self.pos(torch.arange(T))
        for block in self.blocks:
            x = block(x, self.mask[:T, :T])
        return self.head(self.norm(x))


def loss_fn(logits, target):
    return F.cross_entropy(logits.reshape(-1, logits.size(-1)), target.reshape(-1))


def parts(variant):
    torch.manual_seed(0)
    ones = torch.ones(BLOCK, BLOCK)
    mask = torch.tril(ones).bool() if variant == "bad" else torch.triu(ones, diagonal=1).bool()
    model = TinyGPT(mask)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    return dict(model=model, optimizer=opt, loss_fn=loss_fn,
                train_loader=DataLoader(Blocks(write_text(900, 1), 1600, 1), batch_size=32, shuffle=True),
                val_loader=DataLoader(Blocks(write_text(200, 2), 192, 2), batch_size=32))


WORKS = lambda score: score < 0.9   # nats per character on other lines; letter frequencies alone give about 2.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(4):
        model.train()
        for step, (x, y) in enumerate(p["train_loader"]):
            loss = loss_fn(model(x), y)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        score = torch.stack([loss_fn(model(x), y) for x, y in p["val_loader"]]).mean().item()
    print(f"score: {score:.4f}")
