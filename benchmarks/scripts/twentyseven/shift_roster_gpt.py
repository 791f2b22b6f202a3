"""A small GPT continues hospital shift rosters (a token a day, what follows depends on the two days before). Its self-attention has no causal mask, so in training each day reads the next day off the input; the right change: give the encoder the causal mask."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SHIFTS = ["early", "late", "night", "off", "training", "standby", "leave", "split"]
V, BLOCK, PREFIX, AHEAD = len(SHIFTS), 32, 10, 8


def roster_rule(g):
    return torch.randint(0, V, (V, V), generator=g)


def write_rosters(n, rule, g, swaps=0.25):
    days = torch.randint(0, V, (n, BLOCK + 1), generator=g)
    for t in range(2, BLOCK + 1):
        planned = rule[days[:, t - 2], days[:, t - 1]]
        swapped = torch.rand(n, generator=g) < swaps
        days[:, t] = torch.where(swapped, days[:, t], planned)
    return days


class RosterGPT(nn.Module):
    def __init__(self, causal, width=48, heads=4, depth=2):
        super().__init__()
        self.tok = nn.Embedding(V, width)
        self.pos = nn.Parameter(0.02 * torch.randn(BLOCK, width))
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu",
                                           batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, V, bias=False)
        self.causal = causal

    def forward(self, idx):
        T = idx.size(1)
        x = self.tok(idx) + self.pos[:T]
        mask = nn.Transformer.generate_square_subsequent_mask(T) if self.causal else None
        return self.head(self.norm(self.blocks(x, mask=mask)))

    @torch.no_grad()
    def generate(self, idx, steps):
        for _ in range(steps):
            logits = self(idx[:, -BLOCK:])[:, -1]
            idx = torch.cat([idx, logits.argmax(-1, keepdim=True)], dim=1)
        return idx


def lm_loss(logits, targets):
    return F.cross_entropy(logits.reshape(-1, V), targets.reshape(-1))


def parts(variant):
    torch.manual_seed(8)
    g = torch.Generator().manual_seed(8)
    rule = roster_rule(g)
    train, held = write_rosters(2400, rule, g), write_rosters(300, rule, g)
    model = RosterGPT(causal=variant != "bad")
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01),
            "loss_fn": lm_loss, "rule": rule,
            "train_loader": DataLoader(TensorDataset(train[:, :-1], train[:, 1:]), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TensorDataset(held[:, :-1], held[:, 1:]), batch_size=100)}


def rule_kept(model, rosters, rule):
    """Share of the generated days that follow the rule, given the two days before."""
    out = model.generate(rosters[:, :PREFIX], AHEAD)
    a, b, c = out[:, PREFIX - 2:-2], out[:, PREFIX - 1:-1], out[:, PREFIX:]
    return (rule[a, b] == c).float().mean().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(5):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            val = sum(p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch}: train {total / len(p['train_loader']):.3f} val {val:.3f}")
    rosters = torch.cat([x for x, _ in p["val_loader"]])
    print("score:", rule_kept(model, rosters, p["rule"]))
