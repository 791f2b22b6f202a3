"""Sorts written enquiries to a museum into topics with a bag of word embeddings. The mistake: the text is split at blanks as it stands, without lower case and without stripping the punctuation, so every word has dozens of spellings, most are seen once or twice and a good part of the new texts is unknown; the right change: lower the text and strip the punctuation first."""
import random
import string
import sys
from collections import Counter
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
TOPICS = {
    "tickets": "ticket price family discount student entry refund voucher booking queue",
    "hours": "open close sunday holiday morning evening easter late hours winter",
    "exhibits": "dinosaur mummy painting statue fossil meteorite armour gallery whale clock",
    "access": "wheelchair lift ramp parking bus toilet pram seating hearing guide",
    "school": "class teacher workshop pupils worksheet lesson visit group curriculum trip",
    "donate": "donation grandfather collection coins letters archive bequest loan uniform offer"}
FILLER = "the a we would like to please know if there is and our with for can you tell us about i was on my it of have in that this".split()


def enquiry(rng):
    topic = rng.randrange(len(TOPICS))
    own = list(TOPICS.values())[topic].split()
    other = " ".join(TOPICS.values()).split()
    words = [rng.choice(FILLER) for _ in range(rng.randint(8, 14))]
    words += [rng.choice(own) for _ in range(3)] + [rng.choice(other) for _ in range(1)]
    rng.shuffle(words)
    # people write as they please
    out = []
    for w in words:
        r = rng.random()
        if r < 0.2:
            w = w.capitalize()
        elif r < 0.4:
            w = w.upper()
        elif r < 0.5:
            k = rng.randrange(1, len(w) + 1)
            w = w[:k].upper() + w[k:]
        w = rng.choice(["", "", "", "", "", "", '"', "(", "'", "*"]) + w
        w = w + rng.choice(["", "", "", "", "", "", "", ",", ".", "!", "?", "...", "!!", ";", ")", '"'])
        out.append(w)
    return " ".join(out), topic


def tokenize(text, variant):
    if variant != "bad":
        text = text.lower().translate(str.maketrans("", "", string.punctuation))
    return text.split()


class Enquiries(Dataset):
    def __init__(self, rows, vocab, variant):
        self.items = [([vocab[t] for t in tokenize(text, variant) if t in vocab], topic) for text, topic in rows]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(batch):
    n = max(1, max(len(ids) for ids, _ in batch))
    x = torch.zeros(len(batch), n, dtype=torch.long)
    for k, (ids, _) in enumerate(batch):
        x[k, :len(ids)] = torch.tensor(ids)
    return x, torch.tensor([t for _, t in batch])


class TopicNet(nn.Module):
    def __init__(self, n_vocab):
        super().__init__()
        self.emb = nn.Embedding(n_vocab, 32, padding_idx=0)
        self.fc = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, len(TOPICS)))

    def forward(self, x):
        e = self.emb(x)
        n = (x != 0).sum(1, keepdim=True).clamp(min=1)
        return self.fc(e.sum(1) / n)


def parts(variant):
    torch.manual_seed(4)
    rng = random.Random(4)
    train = [enquiry(rng) for _ in range(400)]
    val = [enquiry(rng) for _ in range(400)]
    counts = Counter(t for text, _ in train for t in tokenize(text, variant))
    vocab = {w: i + 1 for i, (w, c) in enumerate(counts.most_common())}
    net = TopicNet(len(vocab) + 1)
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=3e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Enquiries(train, vocab, variant), batch_size=20, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(Enquiries(val, vocab, variant), batch_size=200, collate_fn=collate)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    accs = []
    for epoch in range(25):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        good = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                good += (net(x).argmax(1) == y).sum().item()
        accs.append(good / 400)
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, val acc {accs[-1]:.3f}")
    print("score:", np.mean(accs[-5:]))
