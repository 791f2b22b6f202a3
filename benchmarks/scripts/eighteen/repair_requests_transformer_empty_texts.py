"""Transformer encoder that sorts repair requests, padding masked with -inf; cleaning leaves some requests empty, all their keys are masked, and the softmax gives NaN (bad). change: empty requests are dropped when the data set is made."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

DESKS = {"heating": "radiator boiler warm thermostat valve", "water": "tap drain leak pipe toilet", "power": "socket fuse lamp switch cable", "doors": "lock key hinge bell handle"}
FILLER = "please the in flat is since monday again my and kitchen hall does not work".split()
STOP = {"please", "the", "in", "is", "my", "and"}
VOCAB = {w: i + 1 for i, w in enumerate(sorted(set(" ".join(DESKS.values()).split() + FILLER)))}


def clean(words):
    return [w for w in words if w not in STOP]


def requests(n, seed, variant):
    rng = np.random.default_rng(seed)
    data = []
    for _ in range(n):
        y = int(rng.integers(len(DESKS)))
        own = list(DESKS.values())[y].split()
        k = int(rng.choice([2, 5, 9, 14], p=[0.1, 0.3, 0.3, 0.3]))
        words = clean([str(rng.choice(own if r < 0.35 else FILLER)) for r in rng.random(k)])
        if variant == "fixed" and not words:
            continue
        data.append((torch.tensor([VOCAB[w] for w in words], dtype=torch.long), y))
    return data


def collate(items):
    ids = pad_sequence([i for i, _ in items], batch_first=True)
    return ids, torch.tensor([y for _, y in items])


class Layer(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.h = heads
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.ff = nn.Sequential(nn.Linear(d, 2 * d), nn.ReLU(), nn.Dropout(0.1), nn.Linear(2 * d, d))

    def forward(self, x, pad):
        B, T, D = x.shape
        q, k, v = (f(x).view(B, T, self.h, D // self.h).transpose(1, 2) for f in (self.q, self.k, self.v))
        w = (q @ k.transpose(2, 3) / (D // self.h) ** 0.5).masked_fill(pad[:, None, None, :], float("-inf"))
        x = self.n1(x + self.o((w.softmax(-1) @ v).transpose(1, 2).reshape(B, T, D)))
        return self.n2(x + self.ff(x))


class Sorter(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.tok = nn.Embedding(len(VOCAB) + 1, d, padding_idx=0)
        self.pos = nn.Embedding(20, d)
        self.layers = nn.ModuleList([Layer(d, 4), Layer(d, 4)])
        self.cls = nn.Linear(d, len(DESKS))

    def forward(self, ids):
        pad = ids == 0
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        for layer in self.layers:
            x = layer(x, pad)
        keep = (~pad).unsqueeze(-1).float()
        return self.cls((x * keep).sum(1) / keep.sum(1).clamp(min=1))


def parts(variant):
    torch.manual_seed(0)
    model = Sorter()
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(requests(2000, 1, variant), 32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(requests(500, 2, variant), 50, collate_fn=collate)}


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        hits = torch.cat([(model(x).argmax(1) == y).float() for x, y in loader])
    model.train()
    return hits.mean().item()


WORKS = lambda score: score > 0.75  # accuracy; some requests say nothing of their desk

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, accuracy {accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
