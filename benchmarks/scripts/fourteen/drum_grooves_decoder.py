"""Next-hit model of drum grooves (16 kinds of hit) with nn.MultiheadAttention; bad: the mask is torch.tril(ones) as floats, which MultiheadAttention adds to the scores, so the later hits stay visible. change: a bool mask, True above the diagonal."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

HITS, STEPS = 16, 24


def grooves(n, seed):
    rules = torch.randint(0, HITS, (HITS, HITS), generator=torch.Generator().manual_seed(4))
    g = torch.Generator().manual_seed(seed)
    seq = torch.randint(0, HITS, (n, STEPS + 1), generator=g)
    for t in range(2, STEPS + 1):
        keep = torch.rand(n, generator=g) < 0.85
        seq[:, t] = torch.where(keep, rules[seq[:, t - 1], (seq[:, t - 2] // 4) * 4], seq[:, t])
    return TensorDataset(seq[:, :-1], seq[:, 1:])


class Layer(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x, mask):
        h = self.n1(x)
        h, _ = self.attn(h, h, h, attn_mask=mask, need_weights=False)
        x = x + h
        return x + self.mlp(self.n2(x))


class GrooveModel(nn.Module):
    def __init__(self, mask, dim=48, depth=2):
        super().__init__()
        self.hit = nn.Embedding(HITS, dim)
        self.step = nn.Embedding(STEPS, dim)
        self.layers = nn.ModuleList([Layer(dim) for _ in range(depth)])
        self.out = nn.Linear(dim, HITS)
        self.register_buffer("mask", mask)

    def forward(self, hits):
        T = hits.shape[1]
        x = self.hit(hits) + self.step(torch.arange(T, device=hits.device))
        for layer in self.layers:
            x = layer(x, self.mask[:T, :T])
        return self.out(x)


def sequence_loss(logits, target):
    return F.cross_entropy(logits.transpose(1, 2), target)


def parts(variant):
    torch.manual_seed(0)
    if variant == "bad":
        mask = torch.tril(torch.ones(STEPS, STEPS))
    else:
        mask = torch.triu(torch.ones(STEPS, STEPS, dtype=torch.bool), diagonal=1)
    model = GrooveModel(mask)
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
        "loss_fn": sequence_loss,
        "train_loader": DataLoader(grooves(2500, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(grooves(400, 2), batch_size=200),
    }


@torch.no_grad()
def continue_right(model, loader):
    model.eval()
    hits = [(model(x[:, :k])[:, -1].argmax(-1) == y[:, k - 1]).float().mean().item() for x, y in loader for k in (8, 12, 16)]
    return sum(hits) / len(hits)


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f} next hit {continue_right(model, p['val_loader']):.3f}")
    score = continue_right(model, p["val_loader"])
    print(f"score: {score:.4f}")
