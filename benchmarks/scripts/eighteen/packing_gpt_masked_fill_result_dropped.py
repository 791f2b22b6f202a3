"""Word-level GPT over packing instructions; scores.masked_fill is called and its result not kept, so every word sees the next one (bad). change: scores = scores.masked_fill(...)."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

GOODS = {"bolts": "count", "hinges": "oil", "plates": "wipe", "bulbs": "test", "ropes": "coil", "sheets": "fold", "lids": "stack", "pipes": "cap"}
BOXES = ["crate", "sack", "drum", "box"]
CONTEXT = 32


def words(orders, seed):
    rng = np.random.default_rng(seed)
    text = []
    for _ in range(orders):
        a, b = rng.choice(list(GOODS), 2, replace=False)
        box = rng.choice(BOXES)
        text += f"take {a} and {b} . {GOODS[a]} the {a} , then {GOODS[b]} the {b} . put {a} and {b} into the {box} . label the {box} .".split()
    return text


class Attention(nn.Module):
    def __init__(self, d, heads, variant):
        super().__init__()
        self.qkv, self.proj, self.heads, self.variant = nn.Linear(d, 3 * d), nn.Linear(d, d), heads, variant
        self.register_buffer("future", torch.triu(torch.ones(CONTEXT, CONTEXT, dtype=torch.bool), 1))

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        scores = q @ k.transpose(-2, -1) / (D // self.heads) ** 0.5
        if self.variant == "bad":
            scores.masked_fill(self.future[:T, :T], float("-inf"))
        else:
            scores = scores.masked_fill(self.future[:T, :T], float("-inf"))
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, D))


class Block(nn.Module):
    def __init__(self, d, heads, variant):
        super().__init__()
        self.ln1, self.ln2, self.att = nn.LayerNorm(d), nn.LayerNorm(d), Attention(d, heads, variant)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        x = x + self.att(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class PackingGPT(nn.Module):
    def __init__(self, vocab, variant, d=48):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(CONTEXT, d)
        self.blocks = nn.Sequential(Block(d, 4, variant), Block(d, 4, variant))
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, vocab)

    def forward(self, ids):
        return self.head(self.ln(self.blocks(self.tok(ids) + self.pos(torch.arange(ids.shape[1])))))


def parts(variant):
    torch.manual_seed(0)
    train, val = words(900, 1), words(120, 2)
    vocab = {w: i for i, w in enumerate(sorted(set(train)))}

    def windows(text, stride):
        ids = torch.tensor([vocab[w] for w in text]).unfold(0, CONTEXT + 1, stride)
        return TensorDataset(ids[:, :-1], ids[:, 1:])

    model = PackingGPT(len(vocab), variant)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3), "vocab": vocab,
            "loss_fn": lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten()),
            "train_loader": DataLoader(windows(train, 9), 32, shuffle=True), "val_loader": DataLoader(windows(val, 7), 64)}


@torch.no_grad()
def loss_of_the_next_word(model, loader, given=20):
    """Nats for the word after the first twenty, as when it writes on from them."""
    model.eval()
    total = [F.cross_entropy(model(x[:, :given])[:, -1], y[:, given - 1], reduction="sum").item() for x, y in loader]
    model.train()
    return sum(total) / len(loader.dataset)


WORKS = lambda score: score < 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        run = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad(); loss.backward(); p["optimizer"].step()
            run += loss.item()
        print(f"epoch {epoch + 1} train {run / len(p['train_loader']):.4f} next word {loss_of_the_next_word(p['model'], p['val_loader']):.4f}")
    print(f"score: {loss_of_the_next_word(p['model'], p['val_loader']):.4f}")
