"""A GRU encoder and decoder turn a coded knitting row into its plain stitches, cell by cell, and end with a stop sign. Mistake: inside the loop over the decoder's steps the loss is assigned, not added, so only the last step (the stop sign) is trained. change: the losses of the steps are added up."""
import random
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

CODES = "kpyts"
STITCHES = ["<go>", "<stop>", "knit", "purl", "yarn-over", "together", "slip"]
ROW = 5
PLAIN = {c: STITCHES[2 + i] for i, c in enumerate(CODES)}


def write_row(rng):
    row = [rng.choice(CODES) for _ in range(ROW)]
    stitches = [PLAIN[c] for c in reversed(row)] + ["<stop>"]
    return [CODES.index(c) for c in row], [STITCHES.index(s) for s in stitches]


def rows(count, seed):
    rng = random.Random(seed)
    return [write_row(rng) for _ in range(count)]


def collate(items):
    return torch.tensor([a for a, _ in items]), torch.tensor([b for _, b in items])


class RowReader(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.hidden = hidden
        self.embed_code = nn.Embedding(len(CODES), 24)
        self.embed_stitch = nn.Embedding(len(STITCHES), 24)
        self.encoder = nn.GRUCell(24, hidden)
        self.decoder = nn.GRUCell(24, hidden)
        self.to_stitch = nn.Linear(hidden, len(STITCHES))

    def encode(self, codes):
        h = torch.zeros(len(codes), self.hidden)
        for t in range(codes.size(1)):
            h = self.encoder(self.embed_code(codes[:, t]), h)
        return h

    def decode_step(self, previous, h):
        h = self.decoder(self.embed_stitch(previous), h)
        return self.to_stitch(h), h

    def forward(self, codes):
        h = self.encode(codes)
        previous = torch.zeros(len(codes), dtype=torch.long)
        made = []
        for _ in range(ROW + 1):
            logits, h = self.decode_step(previous, h)
            previous = logits.argmax(1)
            made.append(logits)
        return torch.stack(made, 1)


def parts(variant):
    torch.manual_seed(0)
    model = RowReader()

    def training_step(model, batch):
        codes, stitches = batch
        h = model.encode(codes)
        previous = torch.zeros(len(codes), dtype=torch.long)
        loss = torch.zeros(())
        for t in range(stitches.size(1)):
            logits, h = model.decode_step(previous, h)
            if variant == "bad":
                loss = F.cross_entropy(logits, stitches[:, t])
            else:
                loss = loss + F.cross_entropy(logits, stitches[:, t])
            previous = stitches[:, t]
        return loss

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "training_step": training_step,
            "train_loader": DataLoader(rows(2500, 1), batch_size=50, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(rows(300, 2), batch_size=100, collate_fn=collate)}


WORKS = lambda score: score > 0.8


def stitch_accuracy(model, loader):
    with torch.no_grad():
        right = [(model(codes).argmax(2)[:, :ROW] == stitches[:, :ROW]).float().flatten() for codes, stitches in loader]
    return torch.cat(right).mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch:2d} loss {total / len(p['train_loader']):.4f} stitches right {stitch_accuracy(p['model'], p['val_loader']):.3f}")
    score = stitch_accuracy(p["model"], p["val_loader"])
    print(f"score: {score:.4f}")
