"""Small GPT over characters of generated cable car notices, with learned positions, causal attention and the target shifted by one. Sound: AdamW without decay on norms, biases and embeddings, linear warm-up then cosine; the score is the validation loss in nats per character."""
import math
import random
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
BLOCK, STEPS = 48, 350
WHO = ["cabin", "gondola", "lift", "cable", "chair"]
WHEN = ["at noon", "in the morning", "after lunch", "at dusk", "on sunday"]
WHY = ["strong wind", "fresh snow", "repairs", "a power cut", "thick fog"]
WHAT = ["stops", "runs late", "is closed", "waits", "goes slowly"]


def notices(n, seed):
    r = random.Random(seed)
    return "".join(f"the {r.choice(WHO)} {r.choice(WHAT)} {r.choice(WHEN)} because of {r.choice(WHY)}.\n" for _ in range(n))


class Chunks(Dataset):
    def __init__(self, ids, count, seed):
        self.ids = ids
        g = torch.Generator().manual_seed(seed)
        self.starts = torch.randint(0, len(ids) - BLOCK - 1, (count,), generator=g)

    def __len__(self):
        return len(self.starts)

    def __getitem__(self, i):
        s = self.starts[i]
        chunk = self.ids[s:s + BLOCK + 1]
        return chunk[:-1], chunk[1:]


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = (t.view(B, T, self.heads, D // self.heads).transpose(1, 2) for t in self.qkv(self.ln1(x)).chunk(3, dim=-1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, D))
        return x + self.mlp(self.ln2(x))


class NoticeGPT(nn.Module):
    def __init__(self, vocab, d=64, heads=4, layers=2):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(BLOCK, d)
        self.blocks = nn.Sequential(*[Block(d, heads) for _ in range(layers)])
        self.ln = nn.LayerNorm(d)
        self.head = nn.Linear(d, vocab, bias=False)
        self.apply(self._init)

    def _init(self, m):
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, std=0.02)
            if getattr(m, "bias", None) is not None:
                nn.init.zeros_(m.bias)

    def forward(self, idx):
        x = self.tok(idx) + self.pos(torch.arange(idx.shape[1]))
        return self.head(self.ln(self.blocks(x)))


def lm_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def lr_at(step):
    if step < 40:
        return (step + 1) / 40
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1, (step - 40) / (STEPS - 40))))


def parts(variant):
    torch.manual_seed(0)
    text, held = notices(3000, 0), notices(400, 1)
    chars = sorted(set(text))
    stoi = {c: i for i, c in enumerate(chars)}
    enc = lambda s: torch.tensor([stoi[c] for c in s])
    model = NoticeGPT(len(chars))
    decay = [p for n, p in model.named_parameters() if p.dim() == 2 and "tok" not in n and "pos" not in n]
    ids = {id(p) for p in decay}
    rest = [p for p in model.parameters() if id(p) not in ids]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=2e-3, betas=(0.9, 0.95))
    scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lr_at)

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad(set_to_none=True)
        loss = lm_loss(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()        # once per batch
        return loss

    return {"model": model, "optimizer": opt, "step": step,
            "train_loader": DataLoader(Chunks(enc(text), STEPS * 24, 0), batch_size=24, shuffle=True),
            "val_loader": DataLoader(Chunks(enc(held), 200, 1), batch_size=50),
            "metric": lambda out, y: lm_loss(out, y).item()}


WORKS = lambda score: score < 0.36

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    model.train()
    for i, batch in enumerate(p["train_loader"]):
        loss = p["step"](model, batch, p["optimizer"])
        if i % 50 == 0:
            print(f"step {i}: loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        val = [lm_loss(model(x), y).item() for x, y in p["val_loader"]]
    print("score:", sum(val) / len(val))
