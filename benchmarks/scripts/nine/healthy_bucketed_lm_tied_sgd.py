"""Sound: character model of made-up names, embedding and output tied, plain SGD at a rate of 3 with clipping at 0.25; sentences are sorted by length and cut into batches of one length each (the order of the batches is drawn anew every epoch), and the GRU is time-first on time-first batches."""
import random
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

END, PAD = 26, 27


def names(n, seed):
    """Syllables of a consonant and a vowel; the vowel stays the same through a name, the consonants go up by a fixed stride."""
    rng = np.random.default_rng(seed)
    vowels = [0, 4, 8, 14, 20]
    consonants = [c for c in range(26) if c not in vowels]
    out = []
    for _ in range(n):
        vowel, at = vowels[rng.integers(5)], int(rng.integers(len(consonants)))
        name = []
        for _ in range(int(rng.integers(3, 9))):
            name += [consonants[at], vowel]
            at = (at + int(rng.choice([3, 7]))) % len(consonants)
        out.append(torch.tensor([PAD] + name + [END]))
    return out


class Names(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class ByLength:
    """Batches of neighbours in length, in a new order each time."""

    def __init__(self, items, size):
        groups = {}
        for i, s in enumerate(items):
            groups.setdefault(len(s), []).append(i)
        self.groups, self.size = groups, size

    def __iter__(self):
        batches = []
        for rows in self.groups.values():
            random.shuffle(rows)
            batches += [rows[i:i + self.size] for i in range(0, len(rows), self.size)]
        random.shuffle(batches)
        return iter(batches)

    def __len__(self):
        return sum(-(-len(r) // self.size) for r in self.groups.values())


def collate(items):
    s = torch.stack(items, 1)  # (time, batch): all of one length
    return s[:-1], s[1:]


class TiedModel(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.embed = nn.Embedding(28, width)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)
        self.gru = nn.GRU(width, width)
        self.out = nn.Linear(width, 28)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(self.gru(self.embed(x))[0])


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    train, val = names(3000, 1), names(400, 2)
    model = TiedModel()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=3.0),
        "loss_fn": lambda out, y: nn.functional.cross_entropy(out.flatten(0, 1), y.flatten()),
        "train_loader": DataLoader(Names(train), batch_sampler=ByLength(train, 25), collate_fn=collate),
        "val_loader": DataLoader(Names(val), batch_sampler=ByLength(val, 50), collate_fn=collate),
    }


@torch.no_grad()
def nats(model, loader, loss_fn):
    model.eval()
    total, seen = 0.0, 0
    for x, y in loader:
        total += loss_fn(model(x), y).item() * y.numel()
        seen += y.numel()
    return total / seen


WORKS = lambda score: score < 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            optimizer.step()
        print(f"epoch {epoch + 1}: last loss {loss.item():.3f}, validation {nats(model, p['val_loader'], loss_fn):.3f} nats a letter")
    print(f"score: {nats(model, p['val_loader'], loss_fn):.4f}")
