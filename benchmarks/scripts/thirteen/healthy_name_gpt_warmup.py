"""Sound: character GPT on made-up names, causal attention by hand, tied head, AdamW with linear warm-up and cosine decay stepped every batch; score: share of the possible gain in bits over a unigram model."""
import math
import random
import sys
import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

ON, MID, END = ["ka", "lo", "mi", "sha", "ter", "vo", "an"], ["ri", "na", "do", "le", "bu"], ["n", "th", "ra", "s", "el"]
CHARS = ["."] + sorted(set("".join(ON + MID + END)))
STOI = {c: i for i, c in enumerate(CHARS)}
BLOCK, EPOCHS = 12, 12


def names(n, seed):
    r = random.Random(seed)
    rows = []
    for _ in range(n):
        name = r.choice(ON) + "".join(r.choice(MID) for _ in range(r.randint(1, 2))) + r.choice(END)
        ids = [0] + [STOI[c] for c in name] + [0]
        rows.append(ids + [-1] * (BLOCK + 1 - len(ids)))
    rows = torch.tensor(rows)
    return rows[:, :-1].clamp(min=0), rows[:, 1:]


class Attention(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.kqv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.register_buffer("tril", torch.tril(torch.ones(BLOCK, BLOCK)).bool())

    def forward(self, x):
        b, t, d = x.shape
        k, q, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.kqv(x).chunk(3, -1))
        att = q @ k.transpose(-2, -1) / math.sqrt(d / self.heads)
        att = att.masked_fill(~self.tril[:t, :t], float("-inf")).softmax(-1)
        return self.proj((att @ v).transpose(1, 2).reshape(b, t, d))


class Layer(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.ln1, self.att, self.ln2 = nn.LayerNorm(d), Attention(d, heads), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        x = x + self.att(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class NameGPT(nn.Module):
    def __init__(self, d=48, heads=4, layers=2):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(len(CHARS), d), nn.Embedding(BLOCK, d)
        self.layers = nn.ModuleList(Layer(d, heads) for _ in range(layers))
        self.ln = nn.LayerNorm(d)
        self.head = nn.Linear(d, len(CHARS), bias=False)
        self.apply(lambda m: nn.init.normal_(m.weight, std=0.02) if isinstance(m, (nn.Linear, nn.Embedding)) else None)
        self.head.weight = self.wte.weight

    def forward(self, idx):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1), device=idx.device))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.ln(x))


def loss_fn(logits, targets):
    return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1), ignore_index=-1)


def parts(variant):
    torch.manual_seed(0)
    model = NameGPT()
    train = DataLoader(TensorDataset(*names(1500, 1)), batch_size=32, shuffle=True)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    warm, steps = 60, EPOCHS * len(train)
    sched = torch.optim.lr_scheduler.LambdaLR(
        opt, lambda s: (s + 1) / warm if s < warm else 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (s - warm) / (steps - warm))))

    def step(model, batch, optimizer):
        loss = loss_fn(model(batch[0]), batch[1])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        sched.step()
        return loss
    return {"model": model, "optimizer": opt, "step": step, "loss_fn": loss_fn, "train_loader": train,
            "val_loader": DataLoader(TensorDataset(*names(300, 2)), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(EPOCHS):
        p["model"].train()
        ls = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} loss {sum(ls) / len(ls):.4f}")
    p["model"].eval()
    with torch.no_grad():
        val = sum(loss_fn(p["model"](x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
    counts = torch.bincount(torch.cat([y[y >= 0] for _, y in p["val_loader"]])).float()
    unigram = -(counts / counts.sum() * (counts / counts.sum()).clamp(min=1e-9).log()).sum().item()
    # a grammar's own entropy, per letter, 0.845 nats
    score = (unigram - val) / (unigram - 0.845)
    print(f"unigram {unigram:.4f} val {val:.4f}")
    print(f"score: {score:.4f}")
