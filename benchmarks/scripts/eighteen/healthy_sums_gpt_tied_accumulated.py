"""Sound: a small GPT that learns to add two-digit numbers, answer written backwards, tied embeddings, four micro-batches to a step, warm-up and cosine, clipping; it idles first and then gets it. change: nothing."""
import math
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

ACCUMULATE, EPOCHS = 4, 14
PLUS, EQUALS = 10, 11


def sums():
    a, b = torch.meshgrid(torch.arange(100), torch.arange(100), indexing="ij")
    a, b = a.flatten(), b.flatten()
    s = a + b
    col = lambda v: v.unsqueeze(1)
    text = torch.cat([col(a // 10), col(a % 10), torch.full((len(a), 1), PLUS), col(b // 10), col(b % 10), torch.full((len(a), 1), EQUALS), col(s % 10), col(s // 10 % 10), col(s // 100)], 1)
    y = text[:, 1:].clone()
    y[:, :5] = -100  # only the answer counts
    return TensorDataset(text[:, :-1], y)


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, D))
        return x + self.mlp(self.ln2(x))


class AdderGPT(nn.Module):
    def __init__(self, d=48, layers=2, heads=4):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(12, d), nn.Embedding(8, d)
        self.blocks = nn.ModuleList([Block(d, heads) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(d)
        self.head = nn.Linear(d, 12, bias=False)
        self.head.weight = self.wte.weight
        self.apply(self._init)

    @staticmethod
    def _init(m):
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, std=0.02)
        if isinstance(m, nn.Linear) and m.bias is not None:
            nn.init.zeros_(m.bias)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for b in self.blocks:
            x = b(x)
        return self.head(self.ln_f(x))


def parts(variant):
    torch.manual_seed(0)
    train, val = random_split(sums(), [9000, 1000], generator=torch.Generator().manual_seed(3))
    model = AdderGPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01)
    loader = DataLoader(train, 32, shuffle=True)
    total, warm = EPOCHS * (len(loader) // ACCUMULATE + 1), 60
    rate = lambda s: s / warm if s < warm else 0.5 * (1 + math.cos(math.pi * min(1, (s - warm) / (total - warm))))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    seen = [0]

    def step(model, batch, optimizer):
        x, y = batch
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=-100)
        (loss / ACCUMULATE).backward()
        seen[0] += 1
        if seen[0] % ACCUMULATE == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
        return loss

    return {"model": model, "optimizer": optimizer, "step": step, "train_loader": loader, "val_loader": DataLoader(val, 500)}


@torch.no_grad()
def accuracy(model, loader):
    hits = [(model(x)[:, -3:].argmax(-1) == y[:, -3:]).float().mean(1) for x, y in loader]
    return torch.cat(hits).mean().item()


WORKS = lambda score: score > 0.9  # digits of unseen sums right

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(EPOCHS):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, digits right {accuracy(p['model'], p['val_loader']):.4f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
