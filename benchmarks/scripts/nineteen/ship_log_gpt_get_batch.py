"""A small GPT on a ship's log with the usual get_batch of random offsets; bad: get_batch calls torch.manual_seed itself, so every batch is the same one and the rest of the text is never seen; change: seed once, outside."""
import sys
import math
import random
import torch
import torch.nn as nn
import torch.nn.functional as F

BLOCK, BATCH = 32, 16


def log_text(n, seed):
    rnd = random.Random(seed)
    place = ["cape", "sound", "bank", "reef", "strait", "harbour", "point", "island"]
    wind = ["north", "south", "east", "west", "northeast", "southwest"]
    weather = ["fog", "rain", "squalls", "clear sky", "heavy swell", "drizzle"]
    lines = []
    for _ in range(n):
        lines.append(rnd.choice([f"wind {rnd.choice(wind)}, {rnd.choice(weather)}.", f"passed the {rnd.choice(place)} at dawn.",
                                 f"course {rnd.choice(wind)} by noon.", f"anchored off the {rnd.choice(place)}, {rnd.choice(weather)}.",
                                 f"{rnd.choice(weather)} since midnight.", f"lost sight of the {rnd.choice(place)}."]))
    return "\n".join(lines)


TRAIN, VAL = log_text(2500, 1), log_text(300, 2)
STOI = {c: i for i, c in enumerate(sorted(set(TRAIN + VAL)))}


def encode(text):
    return torch.tensor([STOI[c] for c in text])


class RandomBlocks:
    """Yields batches of (x, y) at random offsets of the text."""

    def __init__(self, data, steps, seed=None):
        self.data, self.steps, self.seed = data, steps, seed

    def get_batch(self):
        if self.seed is not None:
            torch.manual_seed(self.seed)
        ix = torch.randint(len(self.data) - BLOCK - 1, (BATCH,))
        x = torch.stack([self.data[i:i + BLOCK] for i in ix])
        y = torch.stack([self.data[i + 1:i + BLOCK + 1] for i in ix])
        return x, y

    def __len__(self):
        return self.steps

    def __iter__(self):
        for _ in range(self.steps):
            yield self.get_batch()


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.ln1, self.ln2, self.heads = nn.LayerNorm(d), nn.LayerNorm(d), heads
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.qkv(self.ln1(x)).split(D, 2))
        att = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(att.transpose(1, 2).reshape(B, T, D))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, vocab, d=48):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(BLOCK, d)
        self.blocks = nn.Sequential(Block(d, 4), Block(d, 4))
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, vocab, bias=False)

    def forward(self, idx):
        x = self.tok(idx) + self.pos(torch.arange(idx.size(1)))
        return self.head(self.ln(self.blocks(x)))


def training_step(model, batch):
    x, y = batch
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def parts(variant):
    torch.manual_seed(0)
    model = GPT(len(STOI))
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3), training_step=training_step,
                train_loader=RandomBlocks(encode(TRAIN), 100, seed=1337 if variant == "bad" else None),
                val_loader=RandomBlocks(encode(VAL), 20))


# bits per character saved against a uniform guess, as a share (1: all)
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: train loss {sum(losses) / len(losses):.4f}")
    with torch.no_grad():
        nll = sum(p["training_step"](model, b).item() for b in p["val_loader"]) / len(p["val_loader"])
    score = 1 - nll / math.log(len(STOI))
    print(f"score: {score:.4f}")
