"""Small GPT written by hand that continues bead bracelets: the last two colours decide the next by the rule of the workshop, with a slip now and then. The attention has no causal mask, so in training each position looks up the next bead itself and the loss falls to nothing, while the continuation of a half finished bracelet breaks the rule; the right change: mask the scores above the diagonal (causal=True)."""
import sys
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


@dataclass
class Config:
    colours: int = 6
    beads: int = 37
    width: int = 32
    heads: int = 4
    layers: int = 2
    causal: bool = True


class SelfAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.causal = c.heads, c.causal
        self.qkv = nn.Linear(c.width, 3 * c.width)
        self.proj = nn.Linear(c.width, c.width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        att = q @ k.transpose(-2, -1) * q.size(-1) ** -0.5
        if self.causal:
            att = att.masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf"))
        y = att.softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(c.width), nn.LayerNorm(c.width)
        self.attn = SelfAttention(c)
        self.mlp = nn.Sequential(nn.Linear(c.width, 2 * c.width), nn.GELU(), nn.Linear(2 * c.width, c.width))

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class BeadGPT(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.tok = nn.Embedding(c.colours, c.width)
        self.pos = nn.Embedding(c.beads, c.width)
        self.blocks = nn.Sequential(*[Block(c) for _ in range(c.layers)])
        self.ln = nn.LayerNorm(c.width)
        self.head = nn.Linear(c.width, c.colours)

    def forward(self, idx):
        x = self.tok(idx) + self.pos(torch.arange(idx.size(1)))
        return self.head(self.ln(self.blocks(x)))


RULE = torch.randint(0, 6, (6, 6), generator=torch.Generator().manual_seed(40))


def bracelets(n, c, slip=0.15):
    beads = list(torch.randint(0, c.colours, (2, n)))
    while len(beads) < c.beads:
        following = RULE[beads[-2], beads[-1]]
        wrong = torch.rand(n) < slip
        beads.append(torch.where(wrong, torch.randint(0, c.colours, (n,)), following))
    return torch.stack(beads, dim=1)


def lm_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def parts(variant):
    torch.manual_seed(5)
    c = Config(causal=variant != "bad")
    model = BeadGPT(c)
    data = bracelets(1600, c)
    held = bracelets(400, c)
    return {"model": model, "loss_fn": lm_loss,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.01),
            "train_loader": DataLoader(TensorDataset(data[:, :-1], data[:, 1:]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(TensorDataset(held[:, :-1], held[:, 1:]), batch_size=100)}


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(6):
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}")
    idx = bracelets(200, Config())[:, :8]
    with torch.no_grad():
        while idx.size(1) < 24:
            idx = torch.cat([idx, model(idx)[:, -1:].argmax(-1)], dim=1)
    print("score:", (idx[:, 8:] == RULE[idx[:, 6:-2], idx[:, 7:-1]]).float().mean().item())
