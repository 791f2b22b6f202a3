"""Associative recall: pairs of a key and a colour, then a key again, whose colour is asked; a two-layer causal transformer stays on the guessing plateau until its attention has learned to look back."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

KEYS, COLOURS, PAIRS = 10, 6, 5
VOCAB = KEYS + COLOURS


def recalls(n, seed):
    g = torch.Generator().manual_seed(seed)
    keys = torch.rand(n, KEYS, generator=g).argsort(1)[:, :PAIRS]
    colours = torch.randint(0, COLOURS, (n, PAIRS), generator=g)
    asked = torch.randint(0, PAIRS, (n, 1), generator=g)
    pairs = torch.stack([keys, KEYS + colours], 2).flatten(1)
    return torch.cat([pairs, keys.gather(1, asked)], 1), colours.gather(1, asked).squeeze(1)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.n2(x))


class Recaller(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.token = nn.Embedding(VOCAB, dim)
        self.place = nn.Embedding(2 * PAIRS + 1, dim)
        self.blocks = nn.Sequential(Block(dim, 2), Block(dim, 2))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, COLOURS)

    def forward(self, tokens):
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x))[:, -1])


def parts(variant):
    torch.manual_seed(0)
    model = Recaller()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-4),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*recalls(6400, 1)), batch_size=128, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*recalls(1000, 2)), batch_size=500),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        total = 0.0
        for tokens, colour in p["train_loader"]:
            loss = p["loss_fn"](model(tokens), colour)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = torch.cat([(model(t).argmax(1) == c).float() for t, c in p["val_loader"]]).mean().item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
