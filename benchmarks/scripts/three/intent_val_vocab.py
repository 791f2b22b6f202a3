"""Intents of chat messages, bag of embeddings; the validation split numbers its words with a vocabulary of its own; change: the twin uses the training vocabulary for both."""
import random, sys
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

INTENTS = {
    "refund": "refund money back return charged invoice reimburse credit",
    "delivery": "parcel shipping delivered courier arrive tracking late package",
    "account": "password login account email locked username reset sign",
    "cancel": "cancel stop subscription quit unsubscribe end terminate contract",
    "technical": "error crash screen broken install update bug freezes",
    "praise": "thanks great wonderful love perfect happy excellent nice",
}
FILLER = "the a my i you please with for it is to on and can was have not this when still today again really just".split()


def messages(n, seed):
    rng = random.Random(seed)
    names = list(INTENTS)
    rows = []
    for _ in range(n):
        k = rng.randrange(len(names))
        words = [rng.choice(FILLER) for _ in range(rng.randint(3, 8))]
        words += [rng.choice(INTENTS[names[k]].split()) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.3:
            words.append(rng.choice(INTENTS[rng.choice(names)].split()))
        rng.shuffle(words)
        rows.append((" ".join(words), k))
    return rows


def build_vocab(rows):
    vocab = {"<pad>": 0, "<unk>": 1}
    for text, _ in rows:
        for w in text.split():
            vocab.setdefault(w, len(vocab))
    return vocab


class Messages(Dataset):
    def __init__(self, rows, vocab=None, width=14):
        self.vocab = vocab if vocab is not None else build_vocab(rows)
        self.items = []
        for text, k in rows:
            ids = [self.vocab.get(w, 1) for w in text.split()][:width]
            self.items.append((torch.tensor(ids + [0] * (width - len(ids))), k))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class IntentNet(nn.Module):
    def __init__(self, words, classes):
        super().__init__()
        self.bag = nn.EmbeddingBag(words, 24, mode="mean", padding_idx=0)
        self.mlp = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, ids):
        return self.mlp(self.bag(ids))


def parts(variant):
    torch.manual_seed(0)
    train = Messages(messages(1500, 1))
    val = Messages(messages(400, 2), vocab=None if variant == "bad" else train.vocab)
    model = IntentNet(len(train.vocab) + 5, len(INTENTS))
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(),
            "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(val, batch_size=200),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.7        # accuracy of validation

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(20):
        p["model"].train()
        hits = []
        for ids, y in p["train_loader"]:
            out = p["model"](ids)
            loss = p["loss_fn"](out, y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            hits.append(p["metric"](out, y))
        p["model"].eval()
        with torch.no_grad():
            val = [p["metric"](p["model"](ids), y) for ids, y in p["val_loader"]]
        print(f"epoch {epoch}: train acc {sum(hits) / len(hits):.3f}, val acc {sum(val) / len(val):.3f}")
    print(f"score: {sum(val) / len(val):.4f}")
