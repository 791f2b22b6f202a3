"""BERT-like masked language model on characters of library docstrings; mistake: -100 is written over the masked positions instead of over all others, so only copying is trained; change: labels[~masked] = -100."""
import argparse, collections, datetime, json, logging, os, random, statistics, sys
import numpy as np
import scipy.signal
import scipy.stats
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

SEQ, P_MASK, STEPS = 40, 0.15, 550
WORKS = lambda s: s > 0.33

raw = " ".join(" ".join((getattr(m, n).__doc__ or "").lower().split()) for m in (
    os, random, statistics, argparse, logging, datetime, collections, json, np, np.linalg, scipy.stats, scipy.signal)
    for n in sorted(dir(m)) if n[0] != "_").encode("ascii", "ignore").decode()
CHARS = sorted(set(raw))
MASK = len(CHARS)
IDS = torch.tensor([CHARS.index(c) for c in raw])
SPLIT = int(len(IDS) * 0.9)


class MaskingCollator:
    """Like DataCollatorForLanguageModeling, all picked characters become [MASK]."""

    def __init__(self, variant):
        self.variant = variant

    def __call__(self, rows):
        inputs = torch.stack(rows)
        labels = inputs.clone()
        masked = torch.rand(inputs.shape) < P_MASK
        inputs[masked] = MASK
        ignored = masked if self.variant == "bad" else ~masked
        labels[ignored] = -100
        return inputs, labels


class CharBert(nn.Module):
    def __init__(self, d=96):
        super().__init__()
        self.emb = nn.Embedding(len(CHARS) + 1, d)
        self.pos = nn.Embedding(SEQ, d)
        nn.init.normal_(self.emb.weight, std=0.1)
        nn.init.normal_(self.pos.weight, std=0.1)
        self.local = nn.Conv1d(d, d, 5, padding=2)
        layer = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d)
        self.decoder = nn.Linear(d, len(CHARS))

    def forward(self, ids):
        h = self.emb(ids) + self.pos(torch.arange(ids.size(1)))
        h = h + F.gelu(self.local(h.transpose(1, 2))).transpose(1, 2)
        return self.decoder(self.norm(self.encoder(h)))


def mlm_loss(logits, labels):
    return F.cross_entropy(logits.reshape(-1, logits.size(-1)), labels.reshape(-1), ignore_index=-100)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = CharBert()
    train = [IDS[i:i + SEQ] for i in range(0, SPLIT - SEQ, 108)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    return {"model": model, "optimizer": optimizer,
            "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(1, (s + 1) / 60, max(0.02, 1.1 - s / STEPS))),
            "train_loader": DataLoader(train, batch_size=48, shuffle=True, collate_fn=MaskingCollator(variant)),
            "loss_fn": mlm_loss}


@torch.no_grad()
def cloze_accuracy(model):
    """how many hidden characters of the held-out text are guessed"""
    model.eval()
    g = torch.Generator().manual_seed(9)
    ids = IDS[SPLIT:SPLIT + 400 * SEQ]
    ids = ids[:len(ids) // SEQ * SEQ].view(-1, SEQ)
    hidden = torch.rand(ids.shape, generator=g) < P_MASK
    guess = model(ids.masked_fill(hidden, MASK)).argmax(-1)
    model.train()
    return (guess == ids)[hidden].float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, step = p["model"], 0
    while step < STEPS:
        for ids, labels in p["train_loader"]:
            loss = mlm_loss(model(ids), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            p["optimizer"].step()
            p["scheduler"].step()
            p["optimizer"].zero_grad()
            step += 1
            if step % 100 == 0:
                print(f"step {step} | mlm loss {loss.item():.4f} | cloze acc {cloze_accuracy(model):.3f}")
            if step >= STEPS:
                break
    print(f"score: {cloze_accuracy(model):.4f}")
