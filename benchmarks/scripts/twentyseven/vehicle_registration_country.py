"""An LSTM over characters tells the country of a vehicle registration read at a toll bridge; the strings are padded to the column width of the register. The classifier takes the LSTM's output at the last column, which lies dozens of padding steps behind the text; the right change: take the output at the last character of each string (length - 1)."""
import random
import string
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
WIDTH = 56
CHARS = string.ascii_uppercase + string.digits + "- "
STOI = {c: i + 1 for i, c in enumerate(CHARS)}
PATTERNS = {"GB": ["LLDD LLL", "LLDDLLL"], "FR": ["LL-DDD-LL", "LL DDD LL"], "ES": ["DDDD LLL", "DDDDLLL"],
            "DE": ["LL-LL DDDD", "L-LL DDD"], "SE": ["LLL DDD", "LLLDDD", "LLL DDL"], "NL": ["DD-LLL-D", "L-DDD-LL"],
            "IE": ["DDD-L-DDDDD", "DDD-LL-DDD"], "PL": ["LL DDDDD", "LLL DDLL"]}
COUNTRIES = sorted(PATTERNS)


def registration(country, rng):
    pattern = rng.choice(PATTERNS[country])
    text = "".join(rng.choice(string.ascii_uppercase) if c == "L" else rng.choice(string.digits) if c == "D" else c
                   for c in pattern)
    if rng.random() < 0.05:                       # the camera misreads a character
        i = rng.randrange(len(text))
        text = text[:i] + rng.choice(CHARS) + text[i + 1:]
    return text


class TollRegister(Dataset):
    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.rows = [(registration(c, rng), COUNTRIES.index(c)) for c in (rng.choice(COUNTRIES) for _ in range(n))]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        text, country = self.rows[i]
        ids = torch.zeros(WIDTH, dtype=torch.long)
        ids[:len(text)] = torch.tensor([STOI[c] for c in text])
        return ids, country


class CountryLSTM(nn.Module):
    def __init__(self, read, emb=24, hidden=48):
        super().__init__()
        self.embed = nn.Embedding(len(CHARS) + 1, emb, padding_idx=0)
        self.lstm = nn.LSTM(emb, hidden, batch_first=True)
        self.out = nn.Linear(hidden, len(COUNTRIES))
        self.read = read

    def forward(self, ids):
        states, _ = self.lstm(self.embed(ids))
        return self.out(self.read(states, ids))


def read_column(states, ids):
    return states[:, -1]


def read_end(states, ids):
    last = (ids != 0).sum(dim=1) - 1
    return states[torch.arange(len(ids)), last]


def accuracy(logits, labels):
    return (logits.argmax(-1) == labels).float().mean().item()


def parts(variant):
    torch.manual_seed(5)
    model = CountryLSTM(read_column if variant == "bad" else read_end)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "loss_fn": nn.functional.cross_entropy, "metric": accuracy,
            "train_loader": DataLoader(TollRegister(2400, 0), batch_size=48, shuffle=True),
            "val_loader": DataLoader(TollRegister(500, 1), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(5):
        model.train()
        for ids, labels in p["train_loader"]:
            loss = p["loss_fn"](model(ids), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            hits = [accuracy(model(ids), labels) for ids, labels in p["val_loader"]]
        print(f"epoch {epoch}: loss {loss.item():.3f} val accuracy {sum(hits) / len(hits):.3f}")
    print("score:", sum(hits) / len(hits))
