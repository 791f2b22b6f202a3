"""Sound: a small transformer language model reads walks in a valley ("mill north chapel east ford ...") and has to learn the map: from a place and a direction the next place follows. Nothing odd: own causal attention block, warm-up then cosine per batch, tied output table. Directions are random, so the loss stops near half of ln 4; the score is the accuracy on the places alone."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SIDE, LEGS, EPOCHS = 4, 12, 7
PLACES = SIDE * SIDE
VOCAB = PLACES + 4


def walks(n, names, g):
    """place, direction, place, ... on a ring-shaped map (walking off one edge comes in at the other)."""
    row, col = torch.randint(0, SIDE, (2, n), generator=g)
    out = [names[row * SIDE + col]]
    for _ in range(LEGS):
        d = torch.randint(0, 4, (n,), generator=g)
        row = (row + (d == 0).long() - (d == 1).long()) % SIDE
        col = (col + (d == 2).long() - (d == 3).long()) % SIDE
        out += [PLACES + d, names[row * SIDE + col]]
    return torch.stack(out, 1)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        b, t, w = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, w))
        return x + self.mlp(self.n2(x))


class WalkLM(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.words, self.places = nn.Embedding(VOCAB, width), nn.Embedding(2 * LEGS, width)
        self.blocks = nn.Sequential(Block(width, 4), Block(width, 4))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCAB, bias=False)
        nn.init.normal_(self.words.weight, std=0.1)
        nn.init.normal_(self.places.weight, std=0.1)
        self.head.weight = self.words.weight

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.words(x) + self.places.weight[:x.shape[1]])))


def place_accuracy(logits, targets):
    place = targets < PLACES
    return (logits.argmax(-1) == targets)[place].float().mean()


def parts(variant):
    torch.manual_seed(6)
    g = torch.Generator().manual_seed(1)
    names = torch.randperm(PLACES, generator=g)
    data, held = walks(1500, names, g), walks(300, names, g)
    pairs = lambda w: TensorDataset(w[:, :-1], w[:, 1:])
    model = WalkLM()
    train = DataLoader(pairs(data), batch_size=32, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
    total, warm = EPOCHS * len(train), 40
    rate = lambda s: (s + 1) / warm if s < warm else 0.5 + 0.5 * math.cos(math.pi * (s - warm) / (total - warm))
    return {"model": model, "optimizer": optimizer, "train_loader": train, "metric": place_accuracy,
            "loss_fn": lambda logits, y: F.cross_entropy(logits.transpose(1, 2), y),
            "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, rate), "val_loader": DataLoader(pairs(held), batch_size=300)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(EPOCHS):
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.0)
            p["optimizer"].step()
            p["scheduler"].step()
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y).item()
        print(f"epoch {epoch}: loss {loss.item():.3f}, places right {score:.3f}")
    print("score:", score)
