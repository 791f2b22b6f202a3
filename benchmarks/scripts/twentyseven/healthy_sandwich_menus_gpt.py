"""A small character GPT learns to write the lunch board of a sandwich bar; held-out cross entropy in nats per character. Nothing odd: pre-norm blocks, causal mask, tied embedding, AdamW with two decay groups, warm-up and cosine."""
import math
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
BLOCK, EPOCHS = 40, 2


def write_board(lines, seed):
    rng = random.Random(seed)
    breads = ["rye", "bagel", "ciabatta", "toast", "baguette"]
    fills = {"ham": ["mustard", "pickles", "cheddar"], "tuna": ["sweetcorn", "mayo", "capers"],
             "brie": ["cranberry", "walnuts", "rocket"], "egg": ["cress", "mayo", "paprika"], "salmon": ["dill", "capers", "rocket"]}
    out = []
    for _ in range(lines):
        main = rng.choice(list(fills))
        extras = rng.sample(fills[main], rng.choice([1, 2]))
        price = 3 + len(extras) + (main in ("salmon", "brie"))
        out.append(f"{main} with {' and '.join(extras)} on {rng.choice(breads)}, {price} pounds\n")
    return "".join(out)


class Windows(Dataset):
    def __init__(self, ids, stride):
        self.ids, self.starts = ids, range(0, len(ids) - BLOCK - 1, stride)

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        s = self.starts[i]
        return self.ids[s:s + BLOCK], self.ids[s + 1:s + BLOCK + 1]


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.ln2(x))


class MenuGPT(nn.Module):
    def __init__(self, vocab, dim=48, layers=2, heads=4):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, dim), nn.Embedding(BLOCK, dim)
        self.blocks = nn.ModuleList([Block(dim, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        self.apply(self._init)
        self.head.weight = self.tok.weight

    def _init(self, m):
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, std=0.02)
            if getattr(m, "bias", None) is not None:
                nn.init.zeros_(m.bias)

    def forward(self, idx):
        x = self.tok(idx) + self.pos(torch.arange(idx.size(1)))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def lm_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def parts(variant):
    torch.manual_seed(5)
    text, held = write_board(500, 1), write_board(100, 2)
    stoi = {c: i for i, c in enumerate(sorted(set(text)))}
    encode = lambda s: torch.tensor([stoi[c] for c in s])
    model = MenuGPT(len(stoi))
    decay = [q for q in model.parameters() if q.dim() >= 2]
    rest = [q for q in model.parameters() if q.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=4e-3, betas=(0.9, 0.95))
    return {"model": model, "optimizer": optimizer, "loss_fn": lm_loss, "metric": lambda out, y: lm_loss(out, y).item(),
            "train_loader": DataLoader(Windows(encode(text), 6), batch_size=32, shuffle=True, drop_last=True),
            "val_loader": DataLoader(Windows(encode(held), BLOCK), batch_size=32)}


WORKS = lambda score: score < 0.8

if __name__ == "__main__":
    p = parts("fixed")
    steps, warm = EPOCHS * len(p["train_loader"]), 20
    shape = lambda s: (s + 1) / warm if s < warm else 0.1 + 0.45 * (1 + math.cos(math.pi * (s - warm) / (steps - warm)))
    scheduler = torch.optim.lr_scheduler.LambdaLR(p["optimizer"], shape)
    for epoch in range(EPOCHS):
        p["model"].train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.0)
            p["optimizer"].step()
            scheduler.step()
        p["model"].eval()
        with torch.no_grad():
            vals = [(p["metric"](p["model"](x), y), len(x)) for x, y in p["val_loader"]]
        score = sum(v * n for v, n in vals) / sum(n for _, n in vals)
        print(f"epoch {epoch}: train {loss.item():.3f} held out {score:.3f}")
    print("score:", score)
