"""Decoder-only LM that must say when to stop; the padding id is the end-of-text id, so masking the padding in the labels masks every end too; change: a padding id of its own."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

EOS, BOS, COUNT0, ITEM0 = 0, 1, 2, 12
N_ITEMS, MAXLEN = 12, 14
VOCAB = ITEM0 + N_ITEMS + 1
SPARE = VOCAB - 1


def encode(n, seed, pad_id):
    """<bos> HOWMANY item item ... <eos>: the items count upwards, HOWMANY says how many of them."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.full((n, MAXLEN), pad_id)
    for i in range(n):
        k = int(torch.randint(2, 10, (1,), generator=g))
        first = int(torch.randint(0, N_ITEMS, (1,), generator=g))
        items = [ITEM0 + (first + j) % N_ITEMS for j in range(k)]
        seq = [BOS, COUNT0 + k] + items + [EOS]
        ids[i, :len(seq)] = torch.tensor(seq)
    labels = ids[:, 1:].clone()
    labels[labels == pad_id] = -100
    return TensorDataset(ids[:, :-1], labels)


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.heads = heads
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(self.ln1(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, d))
        return x + self.mlp(self.ln2(x))


class TinyLM(nn.Module):
    def __init__(self, d=64, layers=2, heads=4):
        super().__init__()
        self.tok, self.pos = nn.Embedding(VOCAB, d), nn.Embedding(MAXLEN + 4, d)
        self.blocks = nn.ModuleList(Block(d, heads) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, VOCAB, bias=False)

    def forward(self, ids):
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        for blk in self.blocks:
            x = blk(x)
        return self.head(self.ln(x))


def lm_loss(logits, labels):
    return F.cross_entropy(logits.reshape(-1, VOCAB), labels.reshape(-1), ignore_index=-100)


def parts(variant):
    torch.manual_seed(0)
    pad_id = EOS if variant == "bad" else SPARE
    net = TinyLM()
    return {"model": net, "optimizer": torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01), "loss_fn": lm_loss,
            "train_loader": DataLoader(encode(2000, 1, pad_id), batch_size=64, shuffle=True),
            "val_loader": DataLoader(encode(300, 2, pad_id), batch_size=100)}


WORKS = lambda score: score > 0.8


@torch.no_grad()
def stops_right(net, seed=5, n=100):
    """Share of the greedy continuations that end after as many items as were asked for."""
    net.eval()
    g = torch.Generator().manual_seed(seed)
    k = torch.randint(2, 10, (n,), generator=g)
    ids = torch.stack([torch.full((n,), BOS), COUNT0 + k, ITEM0 + torch.randint(0, N_ITEMS, (n,), generator=g)], 1)
    end = torch.full((n,), -1)
    for step in range(11):
        nxt = net(ids)[:, -1].argmax(-1)
        end = torch.where((end < 0) & (nxt == EOS), torch.tensor(step + 1), end)
        ids = torch.cat([ids, nxt[:, None]], 1)
    return (end == k).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        net.train()
        total = 0.0
        for ids, labels in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = p["loss_fn"](net(ids), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            opt.step()
            total += loss.item()
        net.eval()
        with torch.no_grad():
            val = sum(p["loss_fn"](net(a), b).item() for a, b in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch} train {total / len(p['train_loader']):.4f} val {val:.4f}")
    print(f"score: {stops_right(net):.4f}")
