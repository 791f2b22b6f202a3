"""Sound: a causal transformer without any position table (the mask alone tells it the order) says for each step how deep the brackets are nested. Nothing to change."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

DEPTHS = 6


def brackets(n, seed, T=24):
    g = torch.Generator().manual_seed(seed)
    tokens, depth = torch.zeros(n, T, dtype=torch.long), torch.zeros(n, T, dtype=torch.long)
    at = torch.zeros(n, dtype=torch.long)
    for t in range(T):
        opens = torch.rand(n, generator=g) < 0.5
        opens = torch.where(at == 0, True, torch.where(at == DEPTHS - 1, False, opens))
        at = at + torch.where(opens, 1, -1)
        tokens[:, t] = torch.where(opens, 0, 1)
        depth[:, t] = at
    return TensorDataset(tokens, depth)


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.heads = heads

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = (z.view(B, T, self.heads, -1).transpose(1, 2) for z in self.qkv(self.n1(x)).chunk(3, -1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, D))
        return x + self.mlp(self.n2(x))


class DepthModel(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.token = nn.Embedding(2, dim)
        self.blocks = nn.Sequential(*[Block(dim, 4) for _ in range(2)])
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, DEPTHS))

    def forward(self, tokens):
        x = F.pad(self.token(tokens), (0, 0, 1, 0))
        return self.out(self.blocks(x))[:, 1:]


def parts(variant):
    torch.manual_seed(0)
    model = DepthModel()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
        "loss_fn": lambda out, depth: F.cross_entropy(out.flatten(0, 1), depth.flatten()),
        "train_loader": DataLoader(brackets(3000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(brackets(400, 2), batch_size=200),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        losses = []
        for tokens, depth in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(tokens), depth)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            hits = torch.cat([(model(t).argmax(-1) == d).float() for t, d in p["val_loader"]])
        score = hits.mean().item()
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
