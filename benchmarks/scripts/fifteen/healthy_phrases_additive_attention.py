"""Healthy: the tutorial's sequence-to-sequence translator (GRU encoder, GRU decoder with additive attention, teacher forcing on every step) turns spoken clock times into digits and marks; the decoder starts from the start token and is shifted by hand. change: nothing, it is sound."""
import random
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

SOS, EOS, PAD = 0, 1, 2
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
MINUTES = {"five": 5, "ten": 10, "quarter": 15, "twenty": 20, "half": 30}
SRC = {w: i + 3 for i, w in enumerate(WORDS + ["past", "to", "quarter", "twenty", "half", "it", "is", "about", "now"])}
TGT = {c: i + 3 for i, c in enumerate("0123456789:")}


def make_pair(rng):
    h = rng.randint(1, 12)
    m = rng.choice(list(MINUTES))
    way = "past" if m == "half" else rng.choice(["past", "to"])
    hour, minute = (h, MINUTES[m]) if way == "past" else ((h - 2) % 12 + 1, 60 - MINUTES[m])
    said = rng.choice([[], ["it", "is"], ["it", "is", "about"], ["now"]]) + [m, way, WORDS[h - 1]]
    return [SRC[w] for w in said] + [EOS], [TGT[c] for c in f"{hour}:{minute:02d}"] + [EOS]


def make_pairs(n, seed):
    rng = random.Random(seed)
    return [make_pair(rng) for _ in range(n)]


def collate(pairs):
    def pad(seqs):
        return nn.utils.rnn.pad_sequence([torch.tensor(s) for s in seqs], batch_first=True, padding_value=PAD)
    return pad([a for a, _ in pairs]), pad([b for _, b in pairs])


class EncoderRNN(nn.Module):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embedding = nn.Embedding(vocab, hidden, padding_idx=PAD)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x):
        lengths = (x != PAD).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.dropout(self.embedding(x)), lengths, batch_first=True, enforce_sorted=False)
        out, hidden = self.gru(packed)
        return nn.utils.rnn.pad_packed_sequence(out, batch_first=True)[0], hidden


class Attention(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.Wa, self.Ua, self.Va = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)

    def forward(self, query, keys, mask):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys))).squeeze(2)
        weights = F.softmax(scores.masked_fill(mask, float("-inf")), dim=-1).unsqueeze(1)
        return torch.bmm(weights, keys), weights


class Translator(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.encoder = EncoderRNN(len(SRC) + 3, hidden)
        self.embedding = nn.Embedding(len(TGT) + 3, hidden)
        self.attention = Attention(hidden)
        self.gru = nn.GRU(2 * hidden, hidden, batch_first=True)
        self.out = nn.Linear(hidden, len(TGT) + 3)

    def forward(self, src, tgt=None, max_len=6):
        enc, hidden = self.encoder(src)
        mask = src == PAD
        token = torch.full((src.size(0), 1), SOS)
        outputs = []
        for t in range(tgt.size(1) if tgt is not None else max_len):
            context, _ = self.attention(hidden.permute(1, 0, 2), enc, mask)
            o, hidden = self.gru(torch.cat((self.embedding(token), context), dim=2), hidden)
            logits = self.out(o)
            outputs.append(logits)
            token = tgt[:, t:t + 1] if tgt is not None else logits.argmax(-1).detach()
        return F.log_softmax(torch.cat(outputs, dim=1), dim=-1)


criterion = nn.NLLLoss(ignore_index=PAD)


def training_step(model, batch):
    src, tgt = batch
    out = model(src, tgt)
    return criterion(out.view(-1, out.size(-1)), tgt.view(-1))


def parts(variant):
    torch.manual_seed(0)
    model = Translator()
    return dict(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.002),
        training_step=training_step,
        train_loader=DataLoader(make_pairs(1200, 1), batch_size=32, shuffle=True, collate_fn=collate),
        val_loader=DataLoader(make_pairs(200, 2), batch_size=100, collate_fn=collate),
    )


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    right = count = 0
    with torch.no_grad():
        for src, tgt in p["val_loader"]:
            guess = model(src, max_len=tgt.size(1)).argmax(-1)
            right += ((guess == tgt) | (tgt == PAD)).all(1).sum().item()
            count += len(src)
    score = right / count
    print(f"score: {score:.4f}")
