"""Sound: a GRU seq2seq with attention that turns spoken clock times into four digits; encoder and decoder have an optimizer each, the share of teacher forcing falls from 1 to 0.3. change: nothing."""
import random
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

UNITS = "twelve one two three four five six seven eight nine ten eleven".split()
MINUTES = ["", "five past", "ten past", "quarter past", "twenty past", "twenty five past", "half past", "twenty five to", "twenty to", "quarter to", "ten to", "five to"]
LEAD = ["", "it is", "at", "about", "it is about", "come at"]
TAIL = ["", "now", "sharp", "please", "today", "not later"]
SOS = 10


def phrases():
    texts, answers = [], []
    for day, part in enumerate(["in the morning", "in the evening"]):
        for h in range(12):
            for m in range(12):
                spoken = UNITS[(h + (m > 6)) % 12]
                for a in LEAD:
                    for b in TAIL:
                        texts.append(f"{a} {MINUTES[m]} {spoken} {part} {b}".split())
                        hour = h + 12 * day
                        answers.append([hour // 10, hour % 10, 5 * m // 10, 5 * m % 10])
    vocab = {w: i + 1 for i, w in enumerate(sorted({w for t in texts for w in t}))}
    x = torch.zeros(len(texts), 12, dtype=torch.long)
    for i, t in enumerate(texts):
        x[i, : len(t)] = torch.tensor([vocab[w] for w in t])
    return x, torch.tensor(answers), len(vocab) + 1


class Encoder(nn.Module):
    def __init__(self, vocab, d):
        super().__init__()
        self.embedding = nn.Embedding(vocab, d, padding_idx=0)
        self.gru = nn.GRU(d, d, batch_first=True)

    def forward(self, x):
        return self.gru(self.embedding(x))


class AttnDecoder(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.embedding = nn.Embedding(11, d)
        self.gru = nn.GRU(2 * d, d, batch_first=True)
        self.key = nn.Linear(d, d)
        self.out = nn.Linear(2 * d, 10)

    def forward(self, tok, hidden, memory, pad):
        score = torch.bmm(self.key(memory), hidden[-1].unsqueeze(2)).squeeze(2).masked_fill(pad, -1e9)
        context = torch.bmm(F.softmax(score, 1).unsqueeze(1), memory)
        o, hidden = self.gru(torch.cat([self.embedding(tok), context], 2), hidden)
        return self.out(torch.cat([o, context], 2)).squeeze(1), hidden


def decode(model, x, y=None, forcing=0.0):
    memory, hidden = model["encoder"](x)
    tok, logits = torch.full((len(x), 1), SOS), []
    for t in range(4):
        o, hidden = model["decoder"](tok, hidden, memory, x == 0)
        logits.append(o)
        tok = y[:, t:t + 1] if y is not None and random.random() < forcing else o.argmax(1, keepdim=True)
    return torch.stack(logits, 1)


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    x, y, vocab = phrases()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(5))
    a, b = order[:3200], order[3200:4200]
    model = nn.ModuleDict({"encoder": Encoder(vocab, 64), "decoder": AttnDecoder(64)})
    optimizer = (torch.optim.Adam(model["encoder"].parameters(), lr=2e-3), torch.optim.Adam(model["decoder"].parameters(), lr=2e-3))
    steps = [0]

    def step(model, batch, optimizer):
        src, trg = batch
        forcing = max(0.3, 1 - steps[0] / 600)
        loss = F.cross_entropy(decode(model, src, trg, forcing).flatten(0, 1), trg.flatten())
        for o in optimizer:
            o.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in optimizer:
            o.step()
        steps[0] += 1
        return loss

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(x[a], y[a]), 40, shuffle=True), "val_loader": DataLoader(TensorDataset(x[b], y[b]), 500)}


@torch.no_grad()
def exact(model, loader):
    return torch.cat([(decode(model, x).argmax(2) == y).all(1).float() for x, y in loader]).mean().item()


WORKS = lambda score: score > 0.9  # phrases wholly right

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, right {exact(p['model'], p['val_loader']):.3f}")
    print(f"score: {exact(p['model'], p['val_loader']):.4f}")
