"""A transformer encoder reads the order slips of a dressmaker ("shorten the hem after you mend the collar") and says which piece has to be done first. A sound program: padded batches with a key padding mask, learned positions, mean over the real tokens only, Adam at 1e-3. There is no mistake and nothing to change; the variant is ignored."""
import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

torch.set_num_threads(1)
PIECES = ["hem", "collar", "sleeve", "pocket", "lining", "waist"]
VERBS = ["shorten", "mend", "replace", "press", "widen"]
WORDS = ["<pad>", "the", "then", "after", "before", "you", "please", "first", "carefully"] + PIECES + VERBS
INDEX = {w: i for i, w in enumerate(WORDS)}


@dataclass
class Config:
    dim: int = 48
    heads: int = 4
    layers: int = 2
    lr: float = 1e-3
    epochs: int = 5
    batch: int = 32


def slip(rng):
    a, b = rng.choice(PIECES, 2, replace=False)
    va, vb = rng.choice(VERBS, 2)
    kind = rng.integers(3)
    if kind == 0:
        words, first = [va, "the", a, "then", vb, "the", b], a
    elif kind == 1:
        words, first = [va, "the", a, "after", "you", vb, "the", b], b
    else:
        words, first = [va, "the", a, "before", "you", vb, "the", b], a
    if rng.random() < 0.4:
        words = ["please"] + words
    if rng.random() < 0.3:
        words.insert(int(rng.integers(len(words))), "carefully")
    return torch.tensor([INDEX[w] for w in words]), PIECES.index(first)


def collate(items):
    tokens = pad_sequence([t for t, _ in items], batch_first=True, padding_value=0)
    return tokens, torch.tensor([y for _, y in items])


class SlipEncoder(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.words = nn.Embedding(len(WORDS), cfg.dim, padding_idx=0)
        self.places = nn.Parameter(torch.randn(1, 16, cfg.dim) * 0.02)
        layer = nn.TransformerEncoderLayer(cfg.dim, cfg.heads, 2 * cfg.dim, dropout=0.05, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, cfg.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(cfg.dim)
        self.classify = nn.Linear(cfg.dim, len(PIECES))

    def forward(self, tokens):
        empty = tokens == 0
        h = self.words(tokens) + self.places[:, :tokens.size(1)]
        h = self.norm(self.encoder(h, src_key_padding_mask=empty))
        real = (~empty).unsqueeze(-1).float()
        return self.classify((h * real).sum(1) / real.sum(1))


def parts(variant):
    cfg = Config()
    torch.manual_seed(0)
    rng = np.random.default_rng(21)
    slips = [slip(rng) for _ in range(2600)]
    model = SlipEncoder(cfg)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=cfg.lr),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(slips[:2000], batch_size=cfg.batch, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(slips[2000:], batch_size=100, collate_fn=collate),
        "metric": lambda out, y: (out.argmax(-1) == y).float().mean().item(),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(Config().epochs):
        model.train()
        running = 0.0
        for tokens, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(tokens), y)
            loss.backward()
            p["optimizer"].step()
            running += loss.item()
        model.eval()
        with torch.no_grad():
            accs = [p["metric"](model(t), y) for t, y in p["val_loader"]]
        print(f"epoch {epoch}: loss {running / len(p['train_loader']):.3f}, val accuracy {np.mean(accs):.3f}")
    print("score:", float(np.mean(accs)))
