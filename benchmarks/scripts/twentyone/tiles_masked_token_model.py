"""Masked model of tile tokens (MaskGIT in small): hide a part of a grid of tokens and predict them; the mistake (bad): the transformer is given the tokens themselves, not the masked copy; change: the masked copy goes in."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

VOCAB, SIDE, MASK = 12, 6, 12


def grids(n, seed):
    """floors laid after one of twenty plans, a few tiles damaged"""
    plans = torch.randint(0, VOCAB, (20, SIDE, SIDE), generator=torch.Generator().manual_seed(77))
    g = torch.Generator().manual_seed(seed)
    ids = plans[torch.randint(0, len(plans), (n,), generator=g)]
    damage = torch.rand(ids.shape, generator=g) < 0.02
    noise = torch.randint(0, VOCAB, ids.shape, generator=g)
    return TensorDataset(torch.where(damage, noise, ids).flatten(1))


class TokenTransformer(nn.Module):
    def __init__(self, d=64, layers=2):
        super().__init__()
        self.tok = nn.Embedding(VOCAB + 1, d)
        self.pos = nn.Parameter(torch.randn(SIDE * SIDE, d) * 0.1)
        layer = nn.TransformerEncoderLayer(d, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.logits = nn.Sequential(nn.LayerNorm(d), nn.Linear(d, VOCAB))

    def forward(self, ids):
        return self.logits(self.blocks(self.tok(ids) + self.pos))


def parts(variant):
    torch.manual_seed(0)
    model = TokenTransformer()

    def training_step(model, batch):
        (ids,) = batch
        ratio = torch.cos(torch.rand(len(ids), 1) * math.pi / 2).clamp(0.1, 0.7)
        mask = torch.rand(ids.shape) < ratio
        x = ids.masked_fill(mask, MASK)
        labels = ids.masked_fill(~mask, -1)
        logits = model(ids) if variant == "bad" else model(x)
        return F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-1)

    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(grids(3000, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(grids(300, 2), batch_size=100)}


WORKS = lambda score: score > 0.7  # share of the hidden tokens that are filled in right, half of the grid hidden


def fill_in(model, loader):
    g = torch.Generator().manual_seed(3)
    hits = n = 0
    model.eval()
    with torch.no_grad():
        for (ids,) in loader:
            mask = torch.rand(ids.shape, generator=g) < 0.5
            guess = model(ids.masked_fill(mask, MASK)).argmax(-1)
            hits += (guess == ids)[mask].sum().item()
            n += mask.sum().item()
    return hits / n


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}")
    print(f"score: {fill_in(model, p['val_loader']):.4f}")
