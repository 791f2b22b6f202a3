"""LSTM that tags each word of the text on a seed packet (amount, unit, colour, plant, month, advice, other). Each text gets a <s> in front, and the tags get their filler only at the end, so every word has the tag of the word after it, which the forward LSTM cannot see; the right change: put the filler tag in front too, as for the words."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
LEX = {
    "AMOUNT": "ten twenty fifty hundred two three five some".split(),
    "UNIT": "grams seeds pods bulbs corms pellets".split(),
    "COLOUR": "crimson white purple golden striped mottled blue".split(),
    "PLANT": "radish leek beet chard poppy cosmos fennel kale marrow salsify".split(),
    "MONTH": "march april may june september october".split(),
    "ADVICE": "sow thin water mulch cover stake".split(),
    "OTHER": "in from the and lightly after with frost until rows".split(),
}
TAGS = ["<pad>", "<none>"] + list(LEX)
WORDS = ["<pad>", "<s>"] + [w for ws in LEX.values() for w in ws]
WORD_ID = {w: i for i, w in enumerate(WORDS)}
MAX = 20


def packet_text(rng):
    words, tags = [], []
    for _ in range(rng.integers(7, MAX - 1)):
        tag = list(LEX)[rng.integers(len(LEX))]
        words.append(LEX[tag][rng.integers(len(LEX[tag]))])
        tags.append(tag)
        if words[-1] == "may" and rng.random() < 0.5:
            tags[-1] = "OTHER" if len(tags) > 1 and tags[-2] == "PLANT" else "MONTH"
    return words, tags


class PacketTexts(Dataset):
    def __init__(self, n, seed, front):
        rng = np.random.default_rng(seed)
        self.rows = [self.encode(*packet_text(rng), front) for _ in range(n)]

    @staticmethod
    def encode(words, tags, front):
        x = torch.zeros(MAX, dtype=torch.long)
        y = torch.zeros(MAX, dtype=torch.long)
        ids = [WORD_ID["<s>"]] + [WORD_ID[w] for w in words]
        names = ["<none>"] * front + tags + ["<none>"] * (1 - front)
        x[:len(ids)] = torch.tensor(ids)
        y[:len(names)] = torch.tensor([TAGS.index(t) for t in names])
        return x, y

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Tagger(nn.Module):
    def __init__(self, dim=24, hidden=48):
        super().__init__()
        self.embed = nn.Embedding(len(WORDS), dim, padding_idx=0)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        self.tag = nn.Linear(hidden, len(TAGS))

    def forward(self, x):
        return self.tag(self.lstm(self.embed(x))[0]).transpose(1, 2)


def tag_accuracy(scores, y):
    seen = y > 1
    return (scores.argmax(1)[seen] == y[seen]).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    front = 0 if variant == "bad" else 1
    model = Tagger()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), metric=tag_accuracy,
                loss_fn=nn.CrossEntropyLoss(ignore_index=0),
                train_loader=DataLoader(PacketTexts(2000, 0, front), batch_size=32, shuffle=True),
                val_loader=DataLoader(PacketTexts(400, 1, front), batch_size=100))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            acc = float(np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]]))
        print(f"epoch {epoch} loss {loss.item():.3f} tags right {acc:.3f}")
    print("score:", acc)
