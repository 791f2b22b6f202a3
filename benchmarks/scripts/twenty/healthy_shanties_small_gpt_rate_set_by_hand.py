"""nanoGPT-style decoder on a made-up shanty grammar: random windows, decay and no-decay groups, learning rate written into the groups before every step, tied head, scaled residual init; sound. change: nothing."""
import sys
import math
import torch
from torch import nn
import torch.nn.functional as F

CHARS = " abcdefghijklmnopqrstuvwxyz\n"
BLOCK, STEPS = 32, 350


def shanties(n, g):
    verbs, nouns, ends = ["haul", "heave", "sing", "row"], ["rope", "sail", "anchor", "oar"], ["away", "home", "low", "high"]
    text = ""
    for a, b, c in torch.randint(0, 4, (n, 3), generator=g).tolist():
        text += f"{verbs[a]} the {nouns[b]} {ends[(a + b) % 4]}\n"
    return torch.tensor([CHARS.index(ch) for ch in text])


class Windows:
    def __init__(self, ids, count, seed, bs=24):
        self.ids, self.count, self.seed, self.bs = ids, count, seed, bs

    def __len__(self):
        return self.count

    def __iter__(self):
        g = torch.Generator().manual_seed(self.seed)
        for _ in range(self.count):
            ix = torch.randint(len(self.ids) - BLOCK - 1, (self.bs,), generator=g)
            yield torch.stack([self.ids[i:i + BLOCK] for i in ix]), torch.stack([self.ids[i + 1:i + 1 + BLOCK] for i in ix])


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.ln1, self.ln2, self.heads = nn.LayerNorm(d), nn.LayerNorm(d), heads
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc, self.fc_proj = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.qkv(self.ln1(x)).split(C, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, C)
        x = x + self.proj(y)
        return x + self.fc_proj(F.gelu(self.fc(self.ln2(x))))


class GPT(nn.Module):
    def __init__(self, d=48, layers=2):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(len(CHARS), d), nn.Embedding(BLOCK, d)
        self.blocks, self.ln_f = nn.ModuleList(Block(d, 4) for _ in range(layers)), nn.LayerNorm(d)
        self.head = nn.Linear(d, len(CHARS), bias=False)
        self.wte.weight = self.head.weight
        for n, w in self.named_parameters():
            if w.dim() > 1:
                nn.init.normal_(w, 0, 0.02 / math.sqrt(2 * layers) if n.endswith("proj.weight") else 0.02)

    def forward(self, idx):
        x = self.wte(idx) + self.wpe.weight[:idx.size(1)]
        for b in self.blocks:
            x = b(x)
        return self.head(self.ln_f(x))


def get_lr(it, top=6e-3, warm=30):
    if it < warm:
        return top * (it + 1) / warm
    return top * (0.1 + 0.45 * (1 + math.cos(math.pi * (it - warm) / (STEPS - warm))))


def parts(variant):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(3)
    model = GPT()
    decay = [w for w in model.parameters() if w.dim() >= 2]
    rest = [w for w in model.parameters() if w.dim() < 2]
    opt = torch.optim.AdamW([dict(params=decay, weight_decay=0.1), dict(params=rest, weight_decay=0.0)], lr=6e-3, betas=(0.9, 0.95))
    return dict(model=model, optimizer=opt, loss_fn=lambda out, y: F.cross_entropy(out.view(-1, out.size(-1)), y.view(-1)),
                train_loader=Windows(shanties(1500, g), STEPS, 7), val_loader=Windows(shanties(200, g), 10, 8))


WORKS = lambda score: score < 0.45  # nats per character on held-out lines; a uniform guess has 3.33

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for it, (x, y) in enumerate(p["train_loader"]):
        for group in opt.param_groups:
            group["lr"] = get_lr(it)
        loss = p["loss_fn"](model(x), y)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        if it % 50 == 0:
            print(f"iter {it} loss {loss.item():.4f}")
    with torch.no_grad():
        score = sum(p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]) / 10
    print(f"score: {score:.4f}")
