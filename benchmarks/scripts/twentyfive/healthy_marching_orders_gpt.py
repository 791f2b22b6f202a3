"""Small character GPT on a parade ground's shouted orders, written from a grammar. An ordinary sound script: causal mask, targets shifted by one in the dataset, warm-up over the first updates; the score is minus the cross entropy (nats per character) on a text drawn anew from the grammar."""
import math
import random
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
CONTEXT = 32


def write_orders(n, seed):
    rng = random.Random(seed)
    units = ["squad", "platoon", "company", "band"]
    moves = {"squad": ["halt", "left turn", "right turn"], "platoon": ["quick march", "halt"],
             "company": ["at ease", "present arms"], "band": ["drums roll", "pipes down", "play on"]}
    lines = []
    for _ in range(n):
        unit = rng.choice(units)
        line = f"{unit} {rng.choice(moves[unit])}"
        if rng.random() < 0.4:
            line += f" by {rng.choice(['the left', 'the right', 'numbers'])}"
        lines.append(line + "!")
    return " ".join(lines)


class Orders(Dataset):
    def __init__(self, text, vocab, stride):
        self.ids = torch.tensor([vocab[c] for c in text])
        self.starts = range(0, len(self.ids) - CONTEXT - 1, stride)

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        chunk = self.ids[self.starts[i]:self.starts[i] + CONTEXT + 1]
        return chunk[:-1], chunk[1:]


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 3 * dim), nn.GELU(), nn.Linear(3 * dim, dim))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(self.ln1(x)).chunk(3, -1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.ln2(x))


class OrdersGPT(nn.Module):
    def __init__(self, n_chars, dim=32, layers=2):
        super().__init__()
        self.tok, self.pos = nn.Embedding(n_chars, dim), nn.Embedding(CONTEXT, dim)
        self.blocks = nn.Sequential(*[Block(dim, 2) for _ in range(layers)])
        self.ln, self.head = nn.LayerNorm(dim), nn.Linear(dim, n_chars)

    def forward(self, ids):
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        return self.head(self.ln(self.blocks(x)))


def lm_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def parts(variant):
    torch.manual_seed(0)
    train_text, val_text = write_orders(1000, 1), write_orders(150, 2)
    vocab = {c: i for i, c in enumerate(sorted(set(train_text)))}
    model = OrdersGPT(len(vocab))
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=6e-3, betas=(0.9, 0.98)),
            "loss_fn": lm_loss,
            "train_loader": DataLoader(Orders(train_text, vocab, 9), batch_size=24, shuffle=True),
            "val_loader": DataLoader(Orders(val_text, vocab, CONTEXT), batch_size=32),
            "metric": lambda logits, y: -lm_loss(logits, y).item()}


WORKS = lambda score: score > -0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    total = 2 * len(p["train_loader"])
    sched = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda s: min(1.0, (s + 1) / 20) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / total))))
    for epoch in range(2):
        for ids, nxt in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = p["loss_fn"](model(ids), nxt)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            sched.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        outs = [(model(a), b) for a, b in p["val_loader"]]
    print("score:", p["metric"](torch.cat([o for o, _ in outs]), torch.cat([b for _, b in outs])))
