"""Transformer encoder that tells good from bad campsite reviews. The learning rate of Adam (0.03) is far too high for it: after a few steps the blocks saturate and every review gets the same output, accuracy stays at chance; the right change: lr=1e-3 or less."""
import random
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)

GOOD = "clean quiet friendly lovely spacious sunny cheap tidy safe pretty".split()
BAD = "dirty noisy rude muddy cramped broken expensive smelly windy dull".split()
THINGS = "pitch showers staff shop pool toilets playground view bar beach path kitchen".split()
FILL = "the was were and we our really very there had it with".split()
VOCAB = {w: i + 1 for i, w in enumerate(GOOD + BAD + THINGS + FILL + ["not", "but"])}
MAXLEN = 20


def write_review(rng):
    words, score = [], 0
    while score == 0:
        words, score = [], 0
        for _ in range(rng.randint(2, 4)):
            words += ["the", rng.choice(THINGS), rng.choice(["was", "were"])]
            positive = rng.random() < 0.5
            negated = rng.random() < 0.15
            if negated:
                words.append("not")
            words.append(rng.choice(GOOD if positive else BAD))
            score += 1 if positive != negated else -1
            if rng.random() < 0.3:
                words.append(rng.choice(FILL))
    return words[:MAXLEN], int(score > 0)


class Reviews(Dataset):
    def __init__(self, n, seed):
        rng = random.Random(seed)
        self.items = [write_review(rng) for _ in range(n)]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        words, label = self.items[i]
        ids = [VOCAB[w] for w in words]
        return torch.tensor(ids + [0] * (MAXLEN - len(ids))), label


class ReviewTransformer(nn.Module):
    def __init__(self, vocab, d=48, heads=4, layers=2):
        super().__init__()
        self.emb = nn.Embedding(vocab, d, padding_idx=0)
        self.pos = nn.Parameter(torch.randn(1, MAXLEN, d) * 0.1)
        layer = nn.TransformerEncoderLayer(d, heads, 96, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(d, 2)

    def forward(self, ids):
        pad = ids == 0
        h = self.encoder(self.emb(ids) + self.pos, src_key_padding_mask=pad)
        keep = (~pad).unsqueeze(-1).float()
        return self.head((h * keep).sum(1) / keep.sum(1))


def parts(variant):
    torch.manual_seed(1)
    model = ReviewTransformer(len(VOCAB) + 1)
    lr = 3e-2 if variant == "bad" else 1e-3
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=lr),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Reviews(1600, 0), batch_size=32, shuffle=True),
            "val_loader": DataLoader(Reviews(500, 99), batch_size=100)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(5):
        model.train()
        total = 0.0
        for ids, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(ids), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        correct = 0
        with torch.no_grad():
            for ids, labels in p["val_loader"]:
                correct += (model(ids).argmax(1) == labels).sum().item()
        acc = correct / 500
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.3f} acc {acc:.3f}")
    print("score:", acc)
