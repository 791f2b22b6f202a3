"""Sentiment of short reviews with a text CNN, read in chunks; the mistake: every chunk gets a vocabulary of its own, so one id means other words from chunk to chunk; change: `fixed` hands one growing vocabulary on."""
import random
import sys
from collections import Counter

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

GOOD = "great lovely superb gripping warm brilliant charming moving fresh clever witty joyful".split()
BAD = "dull awful boring weak cold messy clumsy tired lazy noisy bland tedious".split()
NEUTRAL = ("the a film movie plot actor scene story it was with and this that ending music camera "
           "director script dialogue cast hour minutes really quite somewhat very one two last first").split()
MAXLEN = 16
WORKS = lambda score: score > 0.85


def write_reviews(n, rng):
    out = []
    for _ in range(n):
        y = rng.randint(0, 1)
        words = [rng.choice(NEUTRAL) for _ in range(rng.randint(7, 13))]
        for _ in range(3):
            pool = (GOOD if y else BAD) if rng.random() < 0.85 else (BAD if y else GOOD)
            words.insert(rng.randint(0, len(words)), rng.choice(pool))
        out.append((" ".join(words), y))
    return out


def encode(chunk, vocab=None):
    """texts -> padded ids; ids 0 and 1 are pad and unk"""
    vocab = {"<pad>": 0, "<unk>": 1} if vocab is None else vocab
    counts = Counter(w for text, _ in chunk for w in text.split())
    for w, _ in counts.most_common(90):
        vocab.setdefault(w, len(vocab))
    ids = torch.zeros(len(chunk), MAXLEN, dtype=torch.long)
    for i, (text, _) in enumerate(chunk):
        for j, w in enumerate(text.split()[:MAXLEN]):
            ids[i, j] = vocab.get(w, 1)
    return ids, torch.tensor([y for _, y in chunk]), vocab


class TextCNN(nn.Module):
    def __init__(self, vocab_size=100, dim=32, channels=48):
        super().__init__()
        self.emb = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.convs = nn.ModuleList([nn.Conv1d(dim, channels, k, padding=k // 2) for k in (1, 3)])
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(2 * channels, 2)

    def forward(self, x):
        e = self.emb(x).transpose(1, 2)
        h = torch.cat([torch.relu(c(e)).amax(dim=2) for c in self.convs], dim=1)
        return self.fc(self.drop(h))


def parts(variant="fixed"):
    torch.manual_seed(0)
    rng = random.Random(0)
    reviews = write_reviews(7200, rng)
    xs, ys, vocab = [], [], None
    for start in range(0, len(reviews), 200):
        x, y, vocab = encode(reviews[start:start + 200], vocab if variant == "fixed" else None)
        xs.append(x)
        ys.append(y)
    x, y = torch.cat(xs), torch.cat(ys)
    train = TensorDataset(x[:6000], y[:6000])
    val = TensorDataset(x[6000:], y[6000:])
    model = TextCNN()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(train, batch_size=64, shuffle=True),
        "val_loader": DataLoader(val, batch_size=256),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, target: (out.argmax(1) == target).float().mean().item(),
    }


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        model.train()
        total = 0.0
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            opt.step()
            total += loss.item() * len(xb)
        model.eval()
        with torch.no_grad():
            hits = sum((model(xb).argmax(1) == yb).sum().item() for xb, yb in p["val_loader"])
        acc = hits / len(p["val_loader"].dataset)
        print(f"epoch {epoch}: loss {total / 6000:.3f}  val acc {acc:.3f}")
    print(f"score: {acc:.4f}")
