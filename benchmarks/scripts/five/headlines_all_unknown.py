"""TextCNN for the section of made-up newspaper headlines; mistake: the vocabulary is counted over lower-cased words but the Title Case words are looked up as they are, so nearly all become <unk>; change: both go through the same tokenizer."""
import re
import sys
from collections import Counter
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

SECTIONS = {
    "sport": "striker keeper league goal coach penalty final injury season derby transfer marathon sprint medal referee".split(),
    "money": "bank shares profit inflation bond merger budget loan dividend market index tariff pension invoice audit".split(),
    "science": "telescope genome particle vaccine fossil orbit enzyme galaxy neuron reactor laser molecule comet glacier quantum".split(),
    "culture": "novel gallery opera sculptor ballet poet premiere orchestra museum album theatre portrait festival actor curator".split(),
}
SHARED = "new after talks city crisis old record rise calls end year big week leader report plan hope team first fears wins loses".split()
SHORT = "for a of in the on".split()
NAMES = list(SECTIONS)
WORKS = lambda acc: acc > 0.85


def headline(rng):
    y = int(rng.integers(len(NAMES)))
    words = list(rng.choice(SHARED, rng.integers(3, 6)))
    for _ in range(rng.integers(1, 3)):
        words.insert(int(rng.integers(len(words) + 1)), str(rng.choice(SECTIONS[NAMES[y]])))
    if rng.random() < 0.3:                                        # a word of another section strays in
        words.append(str(rng.choice(SECTIONS[NAMES[int(rng.integers(len(NAMES)))]])))
    for _ in range(rng.integers(0, 3)):
        words.insert(int(rng.integers(1, len(words))), str(rng.choice(SHORT)))
    text = " ".join(w if w in SHORT else w.capitalize() for w in words)
    return text + str(rng.choice(["", "", "!", "?"])), y


def tokenize(text):
    return re.findall(r"[a-z]+", text.lower())


class Vocab:
    def __init__(self, texts, min_freq=2):
        counts = Counter(w for t in texts for w in tokenize(t))
        self.itos = ["<pad>", "<unk>"] + sorted(w for w, c in counts.items() if c >= min_freq)
        self.stoi = {w: i for i, w in enumerate(self.itos)}

    def encode(self, words):
        return [self.stoi.get(w, 1) for w in words]


class Headlines(Dataset):
    def __init__(self, rows, vocab, split_words, max_len=12):
        self.x = torch.zeros(len(rows), max_len, dtype=torch.long)
        for i, (text, _) in enumerate(rows):
            ids = vocab.encode(split_words(text))[:max_len]
            self.x[i, :len(ids)] = torch.tensor(ids)
        self.y = torch.tensor([y for _, y in rows])

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class TextCNN(nn.Module):
    def __init__(self, n_words, dim=32, channels=32, sizes=(1, 2, 3)):
        super().__init__()
        self.embedding = nn.Embedding(n_words, dim, padding_idx=0)
        self.convs = nn.ModuleList(nn.Conv1d(dim, channels, k) for k in sizes)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(channels * len(sizes), len(NAMES))

    def forward(self, x):
        e = self.embedding(x).transpose(1, 2)
        pooled = [F.relu(conv(e)).amax(2) for conv in self.convs]
        return self.fc(self.dropout(torch.cat(pooled, 1)))


def parts(variant="fixed"):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    rows = [headline(rng) for _ in range(5000)]
    vocab = Vocab([t for t, _ in rows[:4000]])
    split_words = str.split if variant == "bad" else tokenize
    model = TextCNN(len(vocab.itos))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(Headlines(rows[:4000], vocab, split_words), batch_size=32, shuffle=True),
            "val_loader": DataLoader(Headlines(rows[4000:], vocab, split_words), batch_size=250),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        net.train()
        train_loss = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            train_loss.append(loss.item())
        net.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](net(x), y).item() for x, y in p["val_loader"]])
        print("epoch %2d  loss %.3f  val acc %.3f" % (epoch + 1, np.mean(train_loss), acc))
    print("score: %.4f" % acc)
