"""Character language model on scikit-learn's data set descriptions; the boolean attention mask has the wrong triangle (True means attend), so every position sees the future; change: `fixed` uses tril."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_linnerud, load_wine

BLOCK, D, HEADS, LAYERS = 48, 96, 4, 2
WORKS = lambda score: score < 2.5          # nats a held-out character, each predicted from its prefix alone

text = "\n".join(f().DESCR for f in (load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine, load_linnerud))
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
data = torch.tensor([stoi[c] for c in text])
pieces = data.split(400)                   # every eighth piece is held out
train_ids = torch.cat([c for i, c in enumerate(pieces) if i % 8 != 5])
val_ids = torch.cat([c for i, c in enumerate(pieces) if i % 8 == 5])


class Block(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.proj = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.mlp = nn.Sequential(nn.Linear(D, 4 * D), nn.GELU(), nn.Linear(4 * D, D))
        self.register_buffer("mask", mask)

    def forward(self, x):
        B, T, _ = x.shape
        q, k, v = (h.view(B, T, HEADS, -1).transpose(1, 2) for h in self.qkv(self.ln1(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask[:T, :T])
        x = x + F.dropout(self.proj(y.transpose(1, 2).reshape(B, T, D)), 0.1, self.training)
        return x + F.dropout(self.mlp(self.ln2(x)), 0.1, self.training)


class GPT(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.tok, self.pos = nn.Embedding(len(chars), D), nn.Embedding(BLOCK, D)
        self.blocks = nn.Sequential(*(Block(mask) for _ in range(LAYERS)))
        self.ln, self.head = nn.LayerNorm(D), nn.Linear(D, len(chars))

    def forward(self, idx):
        x = self.tok(idx) + self.pos(torch.arange(idx.shape[1]))
        return self.head(self.ln(self.blocks(x)))


def get_batches(ids, n, bs=24):
    out = []
    for _ in range(n):
        i = torch.randint(0, len(ids) - BLOCK - 1, (bs,))
        out.append((torch.stack([ids[j:j + BLOCK] for j in i]), torch.stack([ids[j + 1:j + BLOCK + 1] for j in i])))
    return out


def loss_fn(logits, targets):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def parts(variant):
    torch.manual_seed(1337)
    ones = torch.ones(BLOCK, BLOCK, dtype=torch.bool)
    model = GPT(torch.triu(ones) if variant == "bad" else torch.tril(ones))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    return dict(model=model, optimizer=optimizer, train_loader=get_batches(train_ids, 350),
                val_loader=get_batches(val_ids, 10), loss_fn=loss_fn)


@torch.no_grad()
def next_char_nll(model):
    model.eval()
    ctx = torch.stack([val_ids[i:i + 33] for i in range(0, len(val_ids) - 33, 5)])
    total = sum(F.cross_entropy(model(ctx[:, :n])[:, -1], ctx[:, n]).item() for n in (8, 16, 24, 32))
    model.train()
    return total / 4


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    p = parts(ap.parse_args().variant)
    model, optimizer = p["model"], p["optimizer"]
    for it, (xb, yb) in enumerate(p["train_loader"]):
        loss = loss_fn(model(xb), yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if it % 100 == 0:
            with torch.no_grad():
                val = sum(loss_fn(model(x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
            print(f"iter {it}: train {loss.item():.3f} val {val:.3f}")
    print("score:", round(next_char_nll(model), 4))
