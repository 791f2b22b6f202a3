"""Small GPT over the folds of origami models (24 kinds of fold, the next one follows from the last two). The encoder blocks get no causal mask, so each position reads the fold it has to predict; the training loss goes to almost nothing and the sequences that the model writes by itself are wrong; the right change: pass the causal mask to the blocks."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
FOLDS, LENGTH = 24, 32
RULE = np.random.default_rng(99).permutation(FOLDS)


def next_fold(a, b):
    return RULE[(RULE[b] + 3 * (a % 4)) % FOLDS]


def fold_sequences(n, seed):
    rng = np.random.default_rng(seed)
    seqs = rng.integers(0, FOLDS, (n, LENGTH + 1))
    for t in range(2, LENGTH + 1):
        free = rng.random(n) < 0.08
        seqs[:, t] = np.where(free, seqs[:, t], next_fold(seqs[:, t - 2], seqs[:, t - 1]))
    return torch.tensor(seqs)


def shifted(seqs):
    return TensorDataset(seqs[:, :-1], seqs[:, 1:])


class FoldGPT(nn.Module):
    def __init__(self, d=64, heads=4, layers=2, causal=True):
        super().__init__()
        self.tok = nn.Embedding(FOLDS, d)
        self.pos = nn.Embedding(LENGTH, d)
        layer = nn.TransformerEncoderLayer(d, heads, 4 * d, dropout=0.0, batch_first=True, norm_first=True, activation="gelu")
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, FOLDS)
        self.causal = causal

    def forward(self, idx):
        t = idx.size(1)
        x = self.tok(idx) + self.pos(torch.arange(t))
        mask = nn.Transformer.generate_square_subsequent_mask(t) if self.causal else None
        return self.head(self.norm(self.blocks(x, mask=mask)))

    @torch.no_grad()
    def write(self, start, n):
        for _ in range(n):
            start = torch.cat([start, self(start)[:, -1].argmax(-1, keepdim=True)], 1)
        return start


def lm_loss(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def right_folds(model, seqs, start=8, n=12):
    model.eval()
    written = model.write(seqs[:, :start], n).numpy()
    wanted = next_fold(written[:, start - 2:-2], written[:, start - 1:-1])
    return float((written[:, start:] == wanted).mean())


def parts(variant, seed=0):
    torch.manual_seed(seed)
    model = FoldGPT(causal=variant != "bad")
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    return {"model": model, "optimizer": opt, "loss_fn": lm_loss,
            "train_loader": DataLoader(shifted(fold_sequences(2500, 0)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(shifted(fold_sequences(300, 1)), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    model, opt = p["model"], p["optimizer"]
    fresh = fold_sequences(100, 2)
    for epoch in range(5):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
        with torch.no_grad():
            model.eval()
            val = np.mean([p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]])
        print(f"epoch {epoch} train {loss.item():.3f} val {val:.3f} written right {right_folds(model, fresh):.3f}")
    print("score:", right_folds(model, fresh))
