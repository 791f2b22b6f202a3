"""GRU encoder and decoder that reverse strings; the decoder is fed the very tokens it has to say (no shift), so it learns to copy its input; change: feed tgt[:, :-1]."""
import random
import sys

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD, SOS, EOS = 0, 1, 2
LETTERS = "abcdefghij"
stoi = {c: i + 3 for i, c in enumerate(LETTERS)}
WORKS = lambda acc: acc > 0.85


def make_pairs(n, seed):
    rnd = random.Random(seed)
    words = ["".join(rnd.choices(LETTERS, k=rnd.randint(3, 6))) for _ in range(n)]
    return [(w, w[::-1]) for w in words]


def collate(pairs):
    src = [torch.tensor([stoi[c] for c in s] + [EOS]) for s, _ in pairs]
    tgt = [torch.tensor([SOS] + [stoi[c] for c in t] + [EOS]) for _, t in pairs]
    return pad_sequence(src, batch_first=True), pad_sequence(tgt, batch_first=True)


class Seq2Seq(nn.Module):
    def __init__(self, vocab=len(LETTERS) + 3, emb=24, hidden=96):
        super().__init__()
        self.emb = nn.Embedding(vocab, emb, padding_idx=PAD)
        self.encoder = nn.GRU(emb, hidden, batch_first=True)
        self.decoder = nn.GRU(emb, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def encode(self, src):
        lengths = (src != PAD).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.emb(src), lengths, batch_first=True, enforce_sorted=False)
        return self.encoder(packed)[1]

    def forward(self, src, dec_in):
        out, _ = self.decoder(self.emb(dec_in), self.encode(src))
        return self.out(out)

    @torch.no_grad()
    def greedy(self, src, max_len=8):
        h = self.encode(src)
        tok = torch.full((len(src), 1), SOS)
        result = []
        for _ in range(max_len):
            o, h = self.decoder(self.emb(tok), h)
            tok = self.out(o).argmax(-1)
            result.append(tok)
        return torch.cat(result, 1)


def parts(variant="fixed"):
    torch.manual_seed(13)
    model = Seq2Seq()
    criterion = nn.CrossEntropyLoss(ignore_index=PAD)

    def training_step(model, batch):
        src, tgt = batch
        dec_in = tgt[:, 1:] if variant == "bad" else tgt[:, :-1]
        logits = model(src, dec_in)
        return criterion(logits.flatten(0, 1), tgt[:, 1:].flatten())

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
            "train_loader": DataLoader(make_pairs(5000, 0), batch_size=64, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(make_pairs(500, 1), batch_size=250, collate_fn=collate),
            "training_step": training_step}


def token_accuracy(model, loader):
    model.eval()
    ok = n = 0
    for src, tgt in loader:
        gold = tgt[:, 1:]
        hyp = model.greedy(src, gold.shape[1])
        ok += ((hyp == gold) & (gold != PAD)).sum().item()
        n += (gold != PAD).sum().item()
    return ok / n


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optim = p["model"], p["optimizer"]
    for epoch in range(1, 13):
        model.train()
        loss_sum = 0
        for batch in p["train_loader"]:
            optim.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optim.step()
            loss_sum += loss.item()
        print(f"epoch {epoch:2d}: train loss {loss_sum / len(p['train_loader']):.4f}  greedy token accuracy {token_accuracy(model, p['val_loader']):.3f}")
    print("score:", round(token_accuracy(model, p["val_loader"]), 4))
