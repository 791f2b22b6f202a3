"""Bidirectional GRU on short generated hotel reviews with negations; batches are padded and packed. Sound: vocabulary from the training texts with <pad> and <unk>, the last states of both directions are joined, evaluation in eval mode."""
import random
import sys
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
GOOD = "clean lovely quiet friendly spotless generous warm bright".split()
BAD = "dirty noisy rude cold tiny damp shabby gloomy".split()
THINGS = "room bed breakfast lobby staff view shower garden pool corridor".split()
FILL = "we arrived late on friday and checked in then had dinner with our children before going out".split()


def review(rng):
    label = rng.randint(0, 1)
    words = []
    for _ in range(rng.randint(0, 6)):
        words.append(rng.choice(FILL))
    for _ in range(rng.randint(1, 2)):
        flip = rng.random() < 0.4
        pool = GOOD if (label == 1) != flip else BAD
        words += ["the", rng.choice(THINGS), "was"] + (["not"] if flip else []) + [rng.choice(pool)]
        for _ in range(rng.randint(0, 4)):
            words.append(rng.choice(FILL))
    return words, label


class Reviews(Dataset):
    def __init__(self, items, vocab):
        self.items, self.vocab = items, vocab

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        words, label = self.items[i]
        return torch.tensor([self.vocab.get(w, 1) for w in words]), label


def collate(batch):
    seqs, labels = zip(*batch)
    lengths = torch.tensor([len(s) for s in seqs])
    return (pad_sequence(seqs, batch_first=True, padding_value=0), lengths), torch.tensor(labels)


class ReviewGRU(nn.Module):
    def __init__(self, n_words, dim=32, hidden=32):
        super().__init__()
        self.emb = nn.Embedding(n_words, dim, padding_idx=0)
        self.gru = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(2 * hidden, 2)

    def forward(self, inputs):
        tokens, lengths = inputs
        packed = pack_padded_sequence(self.emb(tokens), lengths, batch_first=True, enforce_sorted=False)
        _, h = self.gru(packed)
        return self.fc(self.drop(torch.cat([h[0], h[1]], dim=1)))


def parts(variant):
    torch.manual_seed(0)
    rng = random.Random(0)
    train = [review(rng) for _ in range(2500)]
    val = [review(rng) for _ in range(500)]
    vocab = {"<pad>": 0, "<unk>": 1}
    for words, _ in train:
        for w in words:
            vocab.setdefault(w, len(vocab))
    model = ReviewGRU(len(vocab))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Reviews(train, vocab), batch_size=50, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(Reviews(val, vocab), batch_size=100, collate_fn=collate),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.93

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(5):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
        model.eval()
        right = total = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                right += (model(x).argmax(1) == y).sum().item()
                total += len(y)
        print(f"epoch {epoch + 1}: loss {loss.item():.3f} val acc {right / total:.3f}")
    print("score:", right / total)
