"""Healthy: topics of short texts from frozen random word vectors (a bag of them) and a linear head, trained by SGD at rate 5; change: none."""
import random
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader

TOPICS, OWN, SHARED = 4, 40, 200
WORKS = lambda score: score > 0.85


def documents(n, seed):
    rng = random.Random(seed)
    docs = []
    for _ in range(n):
        topic = rng.randrange(TOPICS)
        words = []
        for _ in range(rng.randint(12, 30)):
            if rng.random() < 0.25:
                words.append(SHARED + topic * OWN + rng.randrange(OWN))
            else:
                words.append(rng.randrange(SHARED))
        label = topic if rng.random() > 0.1 else rng.randrange(TOPICS)    # sloppy annotators
        docs.append((words, label, topic))
    return docs


def collate(docs):
    offsets, flat = [], []
    for words, _, _ in docs:
        offsets.append(len(flat))
        flat += words
    return (torch.tensor(flat), torch.tensor(offsets)), torch.tensor([d[1] for d in docs]), torch.tensor([d[2] for d in docs])


class BagModel(nn.Module):
    def __init__(self, dim=256):
        super().__init__()
        self.bag = nn.EmbeddingBag(SHARED + TOPICS * OWN, dim, mode="mean")
        self.bag.weight.requires_grad_(False)
        self.head = nn.Linear(dim, TOPICS)

    def forward(self, text):
        return self.head(self.bag(*text))


def parts(variant="fixed"):
    torch.manual_seed(22)
    model = BagModel()
    criterion = nn.CrossEntropyLoss()
    return {"model": model,
            "optimizer": torch.optim.SGD([w for w in model.parameters() if w.requires_grad], lr=5.0),
            "train_loader": DataLoader(documents(6000, 1), batch_size=64, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(documents(1000, 2), batch_size=500, collate_fn=collate),
            "training_step": lambda model, batch: criterion(model(batch[0]), batch[1])}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 0:
            print(f"epoch {epoch}: {total / len(p['train_loader']):.4f}")
    with torch.no_grad():
        hits = torch.cat([(model(x).argmax(1) == truth).float() for x, _, truth in p["val_loader"]])
    print(f"score: {hits.mean().item():.4f}")
