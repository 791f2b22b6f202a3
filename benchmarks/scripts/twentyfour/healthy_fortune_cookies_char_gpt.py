"""A small character GPT (two pre-norm blocks, causal attention) on the sentences of fortune cookies. A sound program: inputs and targets are shifted by one inside of the batch maker, the mask is causal, AdamW with betas 0.9/0.95, held-out cookies for validation. There is no mistake and nothing to change; the variant is ignored."""
import random
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
CONTEXT = 40
WHO = ["a friend", "a stranger", "your neighbour", "an old teacher", "the postman", "a quiet child"]
DOES = ["will bring", "soon forgets", "is hiding", "has promised", "will ask for"]
WHAT = ["good news", "a small key", "three lemons", "the answer", "a warm coat", "your umbrella"]
WHEN = ["before noon", "at the next full moon", "when it rains", "on a tuesday", "after the feast"]


def cookies(n, seed):
    r = random.Random(seed)
    return "".join(f"{r.choice(WHO)} {r.choice(DOES)} {r.choice(WHAT)} {r.choice(WHEN)}.\n" for _ in range(n))


ALPHABET = sorted(set(cookies(500, 0)))
CODE = {c: i for i, c in enumerate(ALPHABET)}


class Windows(Dataset):
    def __init__(self, text, stride):
        self.ids = torch.tensor([CODE[c] for c in text])
        self.starts = list(range(0, len(self.ids) - CONTEXT - 1, stride))

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        s = self.starts[i]
        return self.ids[s:s + CONTEXT], self.ids[s + 1:s + CONTEXT + 1]


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(self.ln1(x)).chunk(3, dim=-1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.ln2(x))


class CookieGPT(nn.Module):
    def __init__(self, d=64, layers=2, heads=4):
        super().__init__()
        self.tok, self.pos = nn.Embedding(len(ALPHABET), d), nn.Embedding(CONTEXT, d)
        self.blocks = nn.ModuleList(Block(d, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, len(ALPHABET))

    def forward(self, idx):
        x = self.tok(idx) + self.pos(torch.arange(idx.size(1)))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def lm_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def parts(variant):
    torch.manual_seed(0)
    model = CookieGPT()
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05),
            "loss_fn": lm_loss,
            "train_loader": DataLoader(Windows(cookies(550, 1), 11), batch_size=32, shuffle=True, drop_last=True),
            "val_loader": DataLoader(Windows(cookies(100, 2), CONTEXT), batch_size=64)}


WORKS = lambda score: score < 0.6

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    gpt, opt = p["model"], p["optimizer"]
    for epoch in range(3):
        gpt.train()
        for i, (x, y) in enumerate(p["train_loader"]):
            loss = p["loss_fn"](gpt(x), y)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            if i % 50 == 0:
                print(f"epoch {epoch} batch {i}: {loss.item():.3f}")
        gpt.eval()
        with torch.no_grad():
            val = sum(p["loss_fn"](gpt(x), y).item() * len(x) for x, y in p["val_loader"]) / len(p["val_loader"].dataset)
        print(f"epoch {epoch}: val {val:.3f} nats per character")
    print("score:", val)
