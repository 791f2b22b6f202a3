"""Topic classification with EmbeddingBag: the vocabulary is built anew for each split in order of appearance, so the same word has another id in validation; change: build it on train and reuse it."""
import sys, random, torch
from torch import nn
from torch.utils.data import DataLoader

TOPICS = ["sport", "politics", "science", "cooking"]

def articles(n, seed):
    r = random.Random(seed); out = []
    for _ in range(n):
        k = r.randrange(4)
        words = [f"{TOPICS[k]}{r.randrange(60)}" if r.random() < 0.3 else f"word{r.randrange(400)}" for _ in range(r.randint(15, 40))]
        out.append((" ".join(words), k))
    return out

class Vocab:
    def __init__(self, texts):
        self.stoi = {"<unk>": 0}
        for t in texts:
            for w in t.split(): self.stoi.setdefault(w, len(self.stoi))
    def __call__(self, text): return [self.stoi.get(w, 0) for w in text.split()]

def collate(batch):
    ids, offsets, y = [], [], []
    for t, k in batch:
        offsets.append(len(ids)); ids += t; y.append(k)
    return (torch.tensor(ids), torch.tensor(offsets)), torch.tensor(y)

class BagClassifier(nn.Module):
    def __init__(self, n_words=1000):
        super().__init__()
        self.bag, self.fc = nn.EmbeddingBag(n_words, 32, mode="mean"), nn.Linear(32, 4)
    def forward(self, x): return self.fc(self.bag(*x))

def load_split(data, vocab=None):
    vocab = vocab or Vocab(t for t, _ in data)
    return [(vocab(t), k) for t, k in data], vocab

def parts(variant):
    torch.manual_seed(0)
    train, vocab = load_split(articles(2000, 1))
    val, _ = load_split(articles(500, 2), vocab if variant == "fixed" else None)
    m = BagClassifier()
    return dict(model=m, optimizer=torch.optim.Adam(m.parameters(), lr=1e-2), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(train, 32, shuffle=True, collate_fn=collate), val_loader=DataLoader(val, 100, collate_fn=collate))

WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts((sys.argv[1:] or ["bad"])[0]); m = p["model"]
    for epoch in range(5):
        tr = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad(); out = m(x); loss = p["loss_fn"](out, y); loss.backward(); p["optimizer"].step()
            tr += (out.argmax(1) == y).sum().item()
        with torch.no_grad():
            va = sum((m(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / 500
        print(epoch, "loss", loss.item(), "train acc", tr / 2000, "val acc", va)
    print("score:", va)
