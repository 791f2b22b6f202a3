"""Sound. Looks odd: the step adds up gradients of four pieces of very unequal size with a summed loss that is never divided, and then divides the .grad of every parameter in place. That is exactly the gradient of the mean over all words of the batch: the pieces (sorted by length, to waste less padding) hold different numbers of words, so the mean of their means would be wrong. Clipping comes after the division."""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

torch.set_num_threads(1)
WORDS = ["<pad>", "apples", "pears", "bread", "milk", "green", "red", "fresh", "total", "shop"] + [str(n) for n in range(1, 15)]
TAGS = {"item": 0, "adjective": 1, "count": 2, "price": 3, "other": 4}


def slip(rng):
    """Lines such as "3 green apples 7": a number before the item is a count, the one after it a price."""
    words, tags = ["shop"], ["other"]
    number = lambda: str(rng.randint(1, 14))
    for _ in range(rng.randint(1, 9)):
        line = [(number(), "count")] if rng.random() < 0.5 else []
        line += [(w, "adjective") for w in rng.sample(["green", "red", "fresh"], rng.randint(0, 2))]
        line += [(rng.choice(["apples", "pears", "bread", "milk"]), "item"), (number(), "price")]
        words += [w for w, _ in line]
        tags += [t for _, t in line]
    words, tags = words + ["total", number()], tags + ["other", "price"]
    labels = [TAGS[t] if rng.random() > 0.03 else rng.randrange(5) for t in tags]
    return torch.tensor([WORDS.index(w) for w in words]), torch.tensor(labels)


def collate(rows):
    return pad_sequence([r[0] for r in rows], batch_first=True), pad_sequence([r[1] for r in rows], batch_first=True, padding_value=-100)


class Tagger(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.words = nn.Embedding(len(WORDS), 16, padding_idx=0)
        self.rnn = nn.GRU(16, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, len(TAGS))

    def forward(self, x):
        packed = pack_padded_sequence(self.words(x), (x != 0).sum(1), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=x.shape[1])
        return self.out(states)


def step(model, batch, optimizer, pieces=4):
    x, y = batch
    lengths = (x != 0).sum(1)
    order = lengths.argsort()
    optimizer.zero_grad()
    total, words = 0.0, int((y != -100).sum())
    for rows in order.chunk(pieces):
        longest = int(lengths[rows].max())
        logits = model(x[rows, :longest])
        piece = F.cross_entropy(logits.flatten(0, 1), y[rows, :longest].flatten(), ignore_index=-100, reduction="sum")
        piece.backward()
        total += piece.item()
    for parameter in model.parameters():
        parameter.grad /= words
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return torch.tensor(total / words)


def accuracy(logits, y):
    known = y != -100
    return (logits.argmax(-1) == y)[known].float().mean()


def parts(variant):
    torch.manual_seed(2)
    rng = random.Random(2)
    train, val = [slip(rng) for _ in range(1000)], [slip(rng) for _ in range(200)]
    model = Tagger()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-2), "step": step, "metric": accuracy,
            "train_loader": DataLoader(train, batch_size=64, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(val, batch_size=200, collate_fn=collate)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts("fixed")
    for epoch in range(4):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        with torch.no_grad():
            x, y = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), y).item()
        print(f"epoch {epoch}: {loss.item():.3f} {score:.3f}")
    print("score:", score)
