"""Attention over customers' event sequences; masked_fill blanks where the mask is True, but True marks the real events, so only the padding is attended; change: negates the mask."""
import argparse
import random

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

PAD, KINDS, MAX_LEN = 0, 12, 32


def make_customer(rnd):
    """Churns when complaints (3) outnumber thanks (7), whatever else happened."""
    kinds = [rnd.randint(1, KINDS) for _ in range(rnd.randint(6, 26))]
    for _ in range(rnd.randint(0, 4)):
        kinds[rnd.randrange(len(kinds))] = rnd.choice([3, 7])
    amounts = [rnd.gauss(0, 1) for _ in kinds]
    return kinds, amounts, int(kinds.count(3) > kinds.count(7))


def collate(rows):
    kinds = torch.full((len(rows), MAX_LEN), PAD)
    amounts = torch.zeros(len(rows), MAX_LEN)
    mask = torch.zeros(len(rows), MAX_LEN, dtype=torch.bool)
    for i, (k, a, _) in enumerate(rows):
        kinds[i, : len(k)] = torch.tensor(k)
        amounts[i, : len(a)] = torch.tensor(a)
        mask[i, : len(k)] = True
    return (kinds, amounts, mask), torch.tensor([r[2] for r in rows])


class AttentionPool(nn.Module):
    def __init__(self, dim, heads, invert):
        super().__init__()
        self.invert = invert
        self.query = nn.Parameter(torch.randn(heads, dim) * 0.1)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)

    def forward(self, x, mask):
        scores = torch.einsum("hd,btd->bht", self.query, self.key(x)) / x.shape[-1] ** 0.5
        blocked = ~mask if self.invert else mask
        scores = scores.masked_fill(blocked[:, None, :], -1e9)
        return torch.einsum("bht,btd->bhd", scores.softmax(-1), self.value(x)).flatten(1)


class ChurnModel(nn.Module):
    def __init__(self, dim=32, heads=4, invert=True):
        super().__init__()
        self.emb = nn.Embedding(KINDS + 1, dim, padding_idx=PAD)
        self.amount = nn.Linear(1, dim)
        self.ff = nn.Sequential(nn.Linear(dim, 64), nn.GELU(), nn.Linear(64, dim), nn.LayerNorm(dim))
        self.pool = AttentionPool(dim, heads, invert)
        self.head = nn.Sequential(nn.Linear(dim * heads, 64), nn.GELU(), nn.Linear(64, 2))

    def forward(self, inputs):
        kinds, amounts, mask = inputs
        x = self.emb(kinds) + self.amount(amounts.unsqueeze(-1))
        return self.head(self.pool(x + self.ff(x), mask))


def parts(variant="fixed"):
    torch.manual_seed(0)
    rnd = random.Random(0)
    train, val = ([make_customer(rnd) for _ in range(n)] for n in (4000, 1000))
    model = ChurnModel(invert=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(train, batch_size=64, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(val, batch_size=250, collate_fn=collate),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=20)
    args = ap.parse_args()
    torch.set_num_threads(1)
    p = parts(args.variant)
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(args.epochs):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = loss_fn(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: {sum(losses) / len(losses):.4f}")
    model.eval()
    with torch.no_grad():
        acc = [p["metric"](model(x), y).item() for x, y in p["val_loader"]]
    print(f"score: {sum(acc) / len(acc):.4f}")
