"""Transformer encoder that tells how deep a string of brackets is nested (four classes); bad: Adam with lr=0.05, from which attention and norms never recover; change: lr=1e-3."""
import random
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

PAIRS = {"(": ")", "[": "]"}
VOCAB = {c: i + 1 for i, c in enumerate("()[]")}
LENGTH = 16


def random_string(rng):
    out, stack, deepest = [], [], 0
    while len(out) < LENGTH:
        left = LENGTH - len(out)
        if not stack or (len(stack) < left and rng.random() < rng.choice([0.35, 0.5, 0.75])):
            stack.append(rng.choice("(["))
            out.append(stack[-1])
            deepest = max(deepest, len(stack))
        else:
            out.append(PAIRS[stack.pop()])
    return out, deepest


class Brackets(Dataset):
    """class = depth of the nesting, 1-2, 3, 4, 5 and more"""

    def __init__(self, n, seed):
        rng = random.Random(seed)
        buckets = {k: [] for k in range(4)}
        while min(len(b) for b in buckets.values()) < n // 4:
            s, depth = random_string(rng)
            k = min(max(depth - 2, 0), 3)
            if len(buckets[k]) < n // 4:
                buckets[k].append([VOCAB[c] for c in s])
        self.items = [(ids, k) for k, b in buckets.items() for ids in b]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        ids, k = self.items[i]
        return torch.tensor(ids), k


class DepthClassifier(nn.Module):
    def __init__(self, d=48, heads=4, layers=2):
        super().__init__()
        self.tok = nn.Embedding(5, d)
        self.pos = nn.Parameter(0.02 * torch.randn(LENGTH, d))
        layer = nn.TransformerEncoderLayer(d, heads, 96, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.out = nn.Linear(d, 4)

    def forward(self, ids):
        h = self.encoder(self.tok(ids) + self.pos)
        return self.out(h.amax(dim=1))


def parts(variant):
    torch.manual_seed(0)
    model = DepthClassifier()
    lr = 0.05 if variant == "bad" else 1e-3
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=lr), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(Brackets(3200, 1), batch_size=64, shuffle=True),
                val_loader=DataLoader(Brackets(400, 2), batch_size=100))


WORKS = lambda score: score > 0.7


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        right = [(model(x).argmax(-1) == y).float() for x, y in loader]
    model.train()
    return torch.cat(right).mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        total = 0
        for ids, depth in p["train_loader"]:
            loss = loss_fn(model(ids), depth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(depth)
        print(f"[{epoch:02d}] train {total / len(p['train_loader'].dataset):.4f}  val acc {evaluate(model, p['val_loader']):.3f}")
    score = evaluate(model, p["val_loader"])
    print(f"score: {score:.4f}")
