"""Small causal transformer over folding instructions of origami figures, that should go on with a sequence it is given. forward applies no attention mask, so while training each place looks at the very token it shall predict; the loss falls to nothing, but as the last token of a beginning it has no idea of the next; the right change: a causal mask (nn.Transformer.generate_square_subsequent_mask) in forward."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
FOLDS = ["valley", "mountain", "squash", "petal", "sink", "rabbit", "pleat", "crimp", "turn", "open", "blintz", "inside"]
LENGTH = 25


def figures(n, seed):
    """Folds depend on the two before; now and then the folder is free to choose."""
    table = np.random.default_rng(90).integers(0, len(FOLDS), (len(FOLDS), len(FOLDS)))
    rng = np.random.default_rng(seed)
    seqs = rng.integers(0, len(FOLDS), (n, LENGTH))
    for t in range(2, LENGTH):
        free = rng.random(n) < 0.12
        seqs[:, t] = np.where(free, seqs[:, t], table[seqs[:, t - 2], seqs[:, t - 1]])
    return torch.from_numpy(seqs)


class FoldGPT(nn.Module):
    def __init__(self, dim=64, heads=4, layers=2, causal=True):
        super().__init__()
        self.token = nn.Embedding(len(FOLDS), dim)
        self.place = nn.Parameter(torch.randn(LENGTH, dim) * 0.1)
        layer = nn.TransformerEncoderLayer(dim, heads, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, len(FOLDS))
        self.causal = causal

    def forward(self, ids):
        n = ids.size(1)
        mask = nn.Transformer.generate_square_subsequent_mask(n) if self.causal else None
        h = self.blocks(self.token(ids) + self.place[:n], mask=mask)
        return self.out(self.norm(h))


def next_fold_loss(logits, targets):
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def pairs(seqs):
    return TensorDataset(seqs[:, :-1], seqs[:, 1:])


def parts(variant):
    torch.manual_seed(0)
    model = FoldGPT(causal=variant != "bad")
    return {"model": model, "loss_fn": next_fold_loss,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
            "train_loader": DataLoader(pairs(figures(2200, 91)), batch_size=48, shuffle=True),
            "val_loader": DataLoader(pairs(figures(300, 92)), batch_size=100)}


def continuation_accuracy(model, seqs):
    """How often the next fold is right, given the beginning only."""
    model.eval()
    hits = []
    with torch.no_grad():
        for cut in range(8, LENGTH, 4):
            hits.append((model(seqs[:, :cut])[:, -1].argmax(-1) == seqs[:, cut]).float().mean().item())
    return float(np.mean(hits))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    fresh = figures(400, 93)
    for epoch in range(6):
        p["model"].train()
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        acc = continuation_accuracy(p["model"], fresh)
        print(f"epoch {epoch}: train loss {total / len(p['train_loader']):.3f}, continuation {acc:.3f}")
    print("score:", acc)
