"""Fills in one missing letter of embroidered first names. What could look odd: the three layers of the transformer are one and the same block, and the output layer is the embedding table (tied), so far fewer parameters exist than layers; the loss looks at one place per name only. Why it is right: sharing across depth and tying are deliberate, and the missing place is the only one asked for."""
import random
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
ALPHABET = "_?abcdefghijklmnopqrstuvwxyz"
LENGTH = 10


def invent_names():
    heads = ["mar", "jo", "el", "an", "ka", "ros", "li", "ber", "the", "ad"]
    middles = ["", "i", "an", "el", "et", "o"]
    tails = ["a", "na", "ne", "lia", "ra", "da", "th", "us"]
    names = {h + m + t for h in heads for m in middles for t in tails}
    names = sorted(w for w in names if len(w) <= LENGTH)
    random.Random(1).shuffle(names)
    return names


def blank_one(names, n, seed):
    rng = random.Random(seed)
    rows, places, letters = [], [], []
    for name in rng.choices(names, k=n):
        ids = [ALPHABET.index(c) for c in name.ljust(LENGTH, "_")]
        at = rng.randrange(len(name))
        places.append(at)
        letters.append(ids[at])
        ids[at] = ALPHABET.index("?")
        rows.append(ids)
    return TensorDataset(torch.tensor(rows), torch.tensor(places), torch.tensor(letters))


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.attend = nn.MultiheadAttention(dim, 4, batch_first=True)
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        h = self.ln1(x)
        x = x + self.attend(h, h, h, need_weights=False)[0]
        return x + self.ff(self.ln2(x))


class LetterFiller(nn.Module):
    def __init__(self, dim=32, depth=3):
        super().__init__()
        self.letters = nn.Embedding(len(ALPHABET), dim)
        nn.init.normal_(self.letters.weight, std=0.1)
        self.places = nn.Parameter(0.1 * torch.randn(LENGTH, dim))
        block = Block(dim)
        self.blocks = nn.ModuleList([block] * depth)
        self.ln = nn.LayerNorm(dim)
        self.bias = nn.Parameter(torch.zeros(len(ALPHABET)))

    def forward(self, ids):
        x = self.letters(ids) + self.places
        for block in self.blocks:
            x = block(x)
        return self.ln(x) @ self.letters.weight.T + self.bias


def training_step(model, batch):
    ids, at, letter = batch
    logits = model(ids)[torch.arange(len(ids)), at]
    return F.cross_entropy(logits, letter)


def parts(variant):
    torch.manual_seed(18)
    model = LetterFiller()
    names = invent_names()
    train, val = blank_one(names[90:], 3000, 2), blank_one(names[:90], 500, 4)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01),
            "training_step": training_step,
            "train_loader": DataLoader(train, batch_size=60, shuffle=True),
            "val_loader": DataLoader(val, batch_size=500)}


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(3):
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    with torch.no_grad():
        ids, at, letter = next(iter(p["val_loader"]))
        guess = model(ids)[torch.arange(len(ids)), at].argmax(1)
    print("score:", (guess == letter).float().mean().item())
