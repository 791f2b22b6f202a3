"""Year numbers to Roman numerals: sorted and packed encoder, Luong attention with key mask, teacher forcing with shifted inputs, loss summed over tokens and divided by their number; sound. change: nothing."""
import sys
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

PAD, BOS, EOS = 0, 1, 2
LETTERS = "IVXLCDM"


def roman(n):
    out = ""
    for value, sym in zip((1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1), "M CM D CD C XC L XL X IX V IV I".split()):
        out += sym * (n // value); n %= value
    return out


def collate(numbers):
    numbers = sorted(numbers, key=lambda n: -len(str(n)))
    src = [torch.tensor([int(c) + 3 for c in str(n)]) for n in numbers]
    tgt = [torch.tensor([BOS] + [LETTERS.index(c) + 3 for c in roman(n)] + [EOS]) for n in numbers]
    return pad_sequence(src, batch_first=True), torch.tensor([len(s) for s in src]), pad_sequence(tgt, batch_first=True)


class Seq2Seq(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.src_emb, self.tgt_emb = nn.Embedding(13, 24, padding_idx=PAD), nn.Embedding(10, 24, padding_idx=PAD)
        self.encoder = nn.GRU(24, h, batch_first=True, bidirectional=True)
        self.bridge, self.decoder = nn.Linear(2 * h, h), nn.GRU(24, h, batch_first=True)
        self.score, self.merge, self.out = nn.Linear(2 * h, h, bias=False), nn.Linear(3 * h, h), nn.Linear(h, 10)

    def encode(self, src, lengths):
        packed = pack_padded_sequence(self.src_emb(src), lengths, batch_first=True)
        states, last = self.encoder(packed)
        states, _ = pad_packed_sequence(states, batch_first=True)
        return states, torch.tanh(self.bridge(torch.cat([last[0], last[1]], 1))).unsqueeze(0)

    def decode(self, tokens, hidden, states, mask):
        out, hidden = self.decoder(self.tgt_emb(tokens), hidden)
        energy = torch.bmm(out, self.score(states).transpose(1, 2)).masked_fill(~mask.unsqueeze(1), -1e9)
        context = torch.bmm(energy.softmax(-1), states)
        return self.out(torch.tanh(self.merge(torch.cat([out, context], -1)))), hidden

    def forward(self, src, lengths, tgt):
        states, hidden = self.encode(src, lengths)
        return self.decode(tgt, hidden, states, src != PAD)[0]

    def greedy(self, src, lengths, steps=16):
        states, hidden = self.encode(src, lengths)
        tok, out = torch.full((len(src), 1), BOS), []
        for _ in range(steps):
            logits, hidden = self.decode(tok, hidden, states, src != PAD)
            tok = logits.argmax(-1)
            out.append(tok)
        return torch.cat(out, 1)


def training_step(model, batch):
    src, lengths, tgt = batch
    logits = model(src, lengths, tgt[:, :-1])
    gold = tgt[:, 1:]
    total = nn.functional.cross_entropy(logits.reshape(-1, 10), gold.reshape(-1), ignore_index=PAD, reduction="sum")
    return total / (gold != PAD).sum()


def parts(variant):
    torch.manual_seed(0)
    order = (torch.randperm(2999) + 1).tolist()
    model = Seq2Seq()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), training_step=training_step,
                train_loader=DataLoader(order[:2600], 32, shuffle=True, collate_fn=collate),
                val_loader=DataLoader(order[2600:], 100, collate_fn=collate))


WORKS = lambda score: score > 0.85  # whole numerals right, decoded greedily

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    right = count = 0
    with torch.no_grad():
        for src, lengths, tgt in p["val_loader"]:
            for guess, gold in zip(model.greedy(src, lengths).tolist(), tgt.tolist()):
                right += guess[:(guess + [EOS]).index(EOS)] == gold[1:gold.index(EOS)]
                count += 1
    score = right / count
    print(f"score: {score:.4f}")
