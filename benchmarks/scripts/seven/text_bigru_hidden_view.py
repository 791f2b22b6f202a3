"""Sentiment of short made-up reviews with a bidirectional GRU; mistake: the final states (directions, batch, hidden) are viewed as (batch, -1), which mixes the reviews of a batch; change: transposes the batch to the front first."""
import random
import sys

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

GOOD = "great lovely superb charming brilliant warm funny gripping".split()
BAD = "dull awful boring clumsy flat tedious weak noisy".split()
FILL = "the a film plot actor scene really story and with was camera music it very in some of at first".split()
VOCAB = {w: i + 2 for i, w in enumerate(["not", "never"] + GOOD + BAD + FILL)}


def review(rng):
    words, score = [], 0
    while score == 0:
        words, score = [], 0
        for _ in range(rng.randint(2, 4)):
            words += rng.choices(FILL, k=rng.randint(1, 4))
            sign = rng.choice([-1, 1])
            flip = rng.random() < 0.35
            if flip:
                words.append(rng.choice(["not", "never"]))
            words.append(rng.choice(GOOD if sign > 0 else BAD))
            score += -sign if flip else sign
        words += rng.choices(FILL, k=rng.randint(0, 3))
    return words, int(score > 0)


def collate(samples):
    ids = [torch.tensor([VOCAB[w] for w in words]) for words, _ in samples]
    lengths = torch.tensor([len(t) for t in ids])
    labels = torch.tensor([y for _, y in samples])
    return (pad_sequence(ids, batch_first=True), lengths), labels


class ReviewClassifier(nn.Module):
    def __init__(self, variant, dim=32, hidden=48):
        super().__init__()
        self.variant = variant
        self.embed = nn.Embedding(len(VOCAB) + 2, dim, padding_idx=0)
        self.gru = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, 2)

    def forward(self, inputs):
        tokens, lengths = inputs
        packed = nn.utils.rnn.pack_padded_sequence(self.embed(tokens), lengths, batch_first=True, enforce_sorted=False)
        _, h_n = self.gru(packed)
        if self.variant == "fixed":
            h_n = h_n.transpose(0, 1).contiguous()
        return self.out(h_n.view(len(tokens), -1))


def parts(variant="fixed"):
    torch.manual_seed(5)
    rng = random.Random(5)
    train = [review(rng) for _ in range(3000)]
    val = [review(rng) for _ in range(600)]
    model = ReviewClassifier(variant)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "train_loader": DataLoader(train, batch_size=50, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(val, batch_size=50, collate_fn=collate),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 9):
        model.train()
        tot, n = 0.0, 0
        for inputs, labels in p["train_loader"]:
            loss = criterion(model(inputs), labels)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            opt.step()
            tot, n = tot + loss.item() * len(labels), n + len(labels)
        model.eval()
        with torch.no_grad():
            acc = torch.stack([p["metric"](model(i), y) for i, y in p["val_loader"]]).mean().item()
        print(f"Epoch {epoch} | train loss {tot / n:.3f} | val acc {100 * acc:.1f}%")
    print("score:", round(acc, 4))
