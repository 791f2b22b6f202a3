"""Times like 07:45 are put into words by a GRU encoder and decoder with teacher forcing, padding ignored in the loss; nothing is wrong. change: none."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = ["", "", "twenty", "thirty", "forty", "fifty"]
WORDS = ["<pad>", "<bos>", "<eos>"] + ONES + TENS[2:] + ["past", "to", "o'clock", "quarter", "half"]


def say(n):
    return [ONES[n]] if n < 20 else [TENS[n // 10]] + ([ONES[n % 10]] if n % 10 else [])


def phrase(h, m):
    nxt = (h + 1) % 24
    if m == 0:
        return say(h) + ["o'clock"]
    if m == 30:
        return ["half", "past"] + say(h)
    if m in (15, 45):
        return ["quarter", "past" if m == 15 else "to"] + say(h if m == 15 else nxt)
    return say(m) + ["past"] + say(h) if m < 30 else say(60 - m) + ["to"] + say(nxt)


def dataset():
    src, tgt = [], []
    for h in range(24):
        for m in range(60):
            src.append([int(c) for c in f"{h:02d}{m:02d}"])
            ids = [1] + [WORDS.index(w) for w in phrase(h, m)] + [2]
            tgt.append(ids + [0] * (8 - len(ids)))
    order = torch.randperm(len(src), generator=torch.Generator().manual_seed(5))
    return torch.tensor(src)[order], torch.tensor(tgt)[order]


class Seq2Seq(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.src, self.tgt = nn.Embedding(10, 32), nn.Embedding(len(WORDS), 32, padding_idx=0)
        self.encoder, self.decoder = nn.GRU(32, d, batch_first=True), nn.GRU(32, d, batch_first=True)
        self.out = nn.Linear(d, len(WORDS))

    def forward(self, src, tgt_in):
        _, h = self.encoder(self.src(src))
        y, _ = self.decoder(self.tgt(tgt_in), h)
        return self.out(y)

    @torch.no_grad()
    def translate(self, src, steps=7):
        _, h = self.encoder(self.src(src))
        tok, said = torch.ones(len(src), 1, dtype=torch.long), []
        for _ in range(steps):
            y, h = self.decoder(self.tgt(tok), h)
            tok = self.out(y).argmax(-1)
            said.append(tok)
        return torch.cat(said, 1)


criterion = nn.CrossEntropyLoss(ignore_index=0)


def training_step(model, batch):
    src, tgt = batch
    return criterion(model(src, tgt[:, :-1]).flatten(0, 1), tgt[:, 1:].flatten())


def parts(variant):
    torch.manual_seed(0)
    src, tgt = dataset()
    model = Seq2Seq()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=4e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(src[:1200], tgt[:1200]), batch_size=32, shuffle=True),
                val_loader=DataLoader(TensorDataset(src[1200:], tgt[1200:]), batch_size=240))


# share of unseen times that are said wholly right
WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        total = 0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1} loss {total / len(p['train_loader']):.4f}")
    src, tgt = next(iter(p["val_loader"]))
    want = tgt[:, 1:]
    score = ((model.translate(src) == want) | (want == 0)).all(1).float().mean().item()
    print(f"score: {score:.4f}")
