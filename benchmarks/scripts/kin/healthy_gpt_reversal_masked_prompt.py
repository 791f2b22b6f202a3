"""No mistake: a small decoder-only GPT that learns to write a string backwards; the loss leaves out the prompt (ignore_index), so half of the targets are -100."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

LETTERS, LEN = 20, 10
SEP = LETTERS
VOCAB, T = LETTERS + 1, 2 * LEN


def strings(n, seed):
    g = torch.Generator().manual_seed(seed)
    s = torch.randint(0, LETTERS, (n, LEN), generator=g)
    seq = torch.cat([s, torch.full((n, 1), SEP), s.flip(1)], 1)
    x, y = seq[:, :-1], seq[:, 1:].clone()
    y[:, :LEN] = -100
    return x, y


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (z.view(b, t, self.heads, d // self.heads).transpose(1, 2) for z in self.qkv(self.n1(x)).chunk(3, dim=-1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.n2(x))


class GPT(nn.Module):
    def __init__(self, d=48, layers=2, heads=4):
        super().__init__()
        self.tok, self.pos = nn.Embedding(VOCAB, d), nn.Parameter(torch.zeros(T, d))
        self.blocks = nn.Sequential(*[Block(d, heads) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, VOCAB, bias=False)
        nn.init.normal_(self.pos, std=0.02)
        nn.init.normal_(self.tok.weight, std=0.02)
        self.head.weight = self.tok.weight

    def forward(self, ids):
        x = self.tok(ids) + self.pos[:ids.shape[1]]
        return self.head(self.norm(self.blocks(x)))


def loss_fn(logits, target):
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = GPT()
    return {"model": model, "loss_fn": loss_fn,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.01),
            "train_loader": DataLoader(TensorDataset(*strings(6400, 1)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*strings(500, 2)), batch_size=250)}


@torch.no_grad()
def exact_match(model, loader):
    """Write the answer letter by letter, count the strings that are right throughout."""
    model.eval()
    good = 0
    for x, _ in loader:
        ids = x[:, :LEN + 1]
        for _ in range(LEN):
            ids = torch.cat([ids, model(ids)[:, -1].argmax(-1, keepdim=True)], 1)
        good += (ids[:, LEN + 1:] == x[:, :LEN].flip(1)).all(1).sum().item()
    return good / len(loader.dataset)


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(*sys.argv[1:2])
    for epoch in range(5):
        p["model"].train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.0)
            p["optimizer"].step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, exact {exact_match(p['model'], p['val_loader']):.3f}")
    print(f"score: {exact_match(p['model'], p['val_loader']):.4f}")
