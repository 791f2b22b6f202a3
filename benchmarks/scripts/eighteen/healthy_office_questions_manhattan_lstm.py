"""Sound: a siamese LSTM over pairs of questions with exp(-L1) as similarity and squared error on it, Adadelta with clipping. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

VERBS = [("reset", "renew", "restore"), ("print", "copy", "scan"), ("install", "add", "load"), ("delete", "remove", "erase")]
THINGS = [("password", "passcode"), ("printer", "copier"), ("mail", "inbox"), ("licence", "permit")]
FRAMES = [("how", "do", "i", "V", "my", "T"), ("can", "you", "V", "the", "T", "please"), ("where", "to", "V", "a", "T"), ("i", "want", "the", "T", "to", "V")]
VOCAB = {w: i + 1 for i, w in enumerate(sorted({w for f in FRAMES for w in f} | {w for s in VERBS + THINGS for w in s}))}


def ask(verb, thing, rng):
    frame = FRAMES[rng.integers(len(FRAMES))]
    words = [rng.choice(VERBS[verb]) if w == "V" else rng.choice(THINGS[thing]) if w == "T" else w for w in frame]
    return torch.tensor([VOCAB[w] for w in words])


def question_pairs(n, seed):
    rng = np.random.default_rng(seed)
    out = []
    for k in range(n):
        v, t = rng.integers(4, size=2)
        v2, t2 = v, t
        if k % 2:
            if rng.random() < 0.5:
                v2 = (v + rng.integers(1, 4)) % 4
            else:
                t2 = (t + rng.integers(1, 4)) % 4
        out.append((ask(v, t, rng), ask(v2, t2, rng), float(1 - k % 2)))
    return out


def collate(rows):
    side = lambda k: (pad_sequence([r[k] for r in rows], batch_first=True), torch.tensor([len(r[k]) for r in rows]))
    return side(0), side(1), torch.tensor([r[2] for r in rows])


class MaLSTM(nn.Module):
    def __init__(self, emb=24, hidden=32):
        super().__init__()
        self.emb = nn.Embedding(len(VOCAB) + 1, emb, padding_idx=0)
        self.lstm = nn.LSTM(emb, hidden, batch_first=True)

    def encode(self, side):
        ids, lengths = side
        packed = pack_padded_sequence(self.emb(ids), lengths, batch_first=True, enforce_sorted=False)
        return self.lstm(packed)[1][0][-1]

    def forward(self, a, b):
        return torch.exp(-(self.encode(a) - self.encode(b)).abs().sum(1))


def training_step(model, batch):
    a, b, same = batch
    return nn.functional.mse_loss(model(a, b), same)


def parts(variant):
    torch.manual_seed(0)
    model = MaLSTM()
    return {"model": model, "optimizer": torch.optim.Adadelta(model.parameters(), lr=1.0), "training_step": training_step,
            "train_loader": DataLoader(question_pairs(3000, 1), 32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(question_pairs(600, 2), 200, collate_fn=collate)}


@torch.no_grad()
def accuracy(model, loader):
    return torch.cat([((model(a, b) > 0.5) == (s > 0.5)).float() for a, b, s in loader]).mean().item()


WORKS = lambda score: score > 0.85  # pairs judged rightly

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(25):
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 1.25)
            p["optimizer"].step()
            total += loss.item()
        if epoch % 2 == 0:
            print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, accuracy {accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
