"""Multi-label tagger over a bag of words (a post carries several of 8 topics); bad: the net ends in a sigmoid and the loss is BCEWithLogitsLoss, which takes the sigmoid again; change: the net gives raw logits."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, TOPICS, LENGTH = 240, 8, 30


def make_posts(n, seed):
    rng = np.random.default_rng(seed)
    words, labels = [], []
    for _ in range(n):
        y = rng.random(TOPICS) < 0.2
        w = rng.integers(80, VOCAB, LENGTH)  # ordinary words
        for topic in np.flatnonzero(y):
            at = rng.choice(LENGTH, 4, replace=False)
            w[at] = topic * 10 + rng.integers(0, 10, 4)
        words.append(w)
        labels.append(y)
    return TensorDataset(torch.tensor(np.array(words)), torch.tensor(np.array(labels), dtype=torch.float32))


class TopicTagger(nn.Module):
    def __init__(self, dim=32, hidden=64, last=None):
        super().__init__()
        self.embed = nn.EmbeddingBag(VOCAB, dim, mode="mean")
        layers = [nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, TOPICS)]
        if last is not None:
            layers.append(last)
        self.mlp = nn.Sequential(*layers)

    def forward(self, words):
        return self.mlp(self.embed(words))


def parts(variant):
    torch.manual_seed(0)
    model = TopicTagger(last=nn.Sigmoid() if variant == "bad" else None)
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-4),
            "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(make_posts(2400, 11), batch_size=48, shuffle=True),
            "val_loader": DataLoader(make_posts(500, 12), batch_size=250)}


WORKS = lambda score: score > 0.75


def f1(model, loader):
    model.eval()
    tp = fp = fn = 0
    with torch.no_grad():
        for words, y in loader:
            guess = torch.sigmoid(model(words)) > 0.5
            y = y.bool()
            tp += (guess & y).sum().item()
            fp += (guess & ~y).sum().item()
            fn += (~guess & y).sum().item()
    return 2 * tp / max(2 * tp + fp + fn, 1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        model.train()
        running = 0.0
        for words, y in p["train_loader"]:
            loss = criterion(model(words), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            running += loss.item() * len(y)
        print(f"epoch {epoch}: loss {running / 2400:.4f}")
    score = f1(model, p["val_loader"])
    print(f"score: {score:.4f}")
