"""Character GPT on the log book of a railway signal box, with the output layer tied to the token table. The table keeps the N(0, 1) of nn.Embedding, so the tied logits are ten times too wide, the first loss is far above log(vocabulary) and the short training ends well above what the text allows; the right change: initialise the token table with standard deviation 0.02."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
BLOCK = 48


def logbook(lines, seed):
    rng = np.random.default_rng(seed)
    trains = ["goods", "mail", "express", "local", "light engine", "ballast"]
    places = ["Harrow Mere", "Tolby", "Quarry Sidings", "Wexbridge", "Old Junction", "Fenside"]
    signals = ["home", "distant", "starter", "shunt"]
    text = []
    for _ in range(lines):
        hour, minute = rng.integers(0, 24), rng.integers(0, 60)
        head = f"{hour:02d}.{minute:02d} "
        kind = rng.integers(0, 3)
        if kind == 0:
            text.append(head + f"{rng.choice(trains)} to {rng.choice(places)} accepted, {rng.choice(signals)} off")
        elif kind == 1:
            text.append(head + f"{rng.choice(trains)} from {rng.choice(places)} passed, line clear")
        else:
            text.append(head + f"lamp of {rng.choice(signals)} signal trimmed")
    return "\n".join(text) + "\n"


class Chunks(Dataset):
    def __init__(self, text, stoi):
        self.ids = torch.tensor([stoi[c] for c in text])

    def __len__(self):
        return (len(self.ids) - 1) // BLOCK

    def __getitem__(self, i):
        piece = self.ids[i * BLOCK: (i + 1) * BLOCK + 1]
        return piece[:-1], piece[1:]


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.n2(x))


class LogGPT(nn.Module):
    def __init__(self, vocab, d=96, heads=4, layers=2, table_std=None):
        super().__init__()
        self.tok = nn.Embedding(vocab, d)
        self.pos = nn.Parameter(0.02 * torch.randn(BLOCK, d))
        self.blocks = nn.Sequential(*[Block(d, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, vocab, bias=False)
        if table_std is not None:
            nn.init.normal_(self.tok.weight, std=table_std)
        self.head.weight = self.tok.weight

    def forward(self, idx):
        x = self.tok(idx) + self.pos[:idx.size(1)]
        return self.head(self.norm(self.blocks(x)))


def parts(variant, seed=0):
    torch.manual_seed(seed)
    train_text, val_text = logbook(1200, 0), logbook(150, 1)
    stoi = {c: i for i, c in enumerate(sorted(set(train_text)))}
    model = LogGPT(len(stoi), table_std=None if variant == "bad" else 0.02)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3),
            "loss_fn": lambda out, y: F.cross_entropy(out.reshape(-1, out.size(-1)), y.reshape(-1)),
            "train_loader": DataLoader(Chunks(train_text, stoi), batch_size=32, shuffle=True, drop_last=True),
            "val_loader": DataLoader(Chunks(val_text, stoi), batch_size=32)}


WORKS = lambda score: score < 0.95

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for epoch in range(5):
        p["model"].train()
        for step, (x, y) in enumerate(p["train_loader"]):
            loss = p["loss_fn"](p["model"](x), y)
            if epoch == 0 and step == 0:
                print("first loss", round(loss.item(), 2))
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        p["model"].eval()
        with torch.no_grad():
            val = float(np.mean([p["loss_fn"](p["model"](x), y).item() for x, y in p["val_loader"]]))
        print(f"epoch {epoch}: train {loss.item():.3f} val {val:.3f}")
    print("score:", val)
