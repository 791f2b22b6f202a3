"""Pair classifier (does the second sentence follow from the first?) on token ids; the mistake (bad): a batch limit of a quick check was left in the loader wrapper, every epoch ends after 32 batches; change: the wrapper passes on all batches."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

WORDS, LENGTH = 120, 10


def pairs(n, seed):
    """premise: ten words; hypothesis: four words, each a word of the premise or its synonym (id + 60), or one contradicts"""
    g = torch.Generator().manual_seed(seed)
    premise = torch.stack([torch.randperm(60, generator=g)[:LENGTH] for _ in range(n)])
    label = torch.randint(0, 2, (n,), generator=g)
    hypothesis = torch.empty(n, 4, dtype=torch.long)
    for i in range(n):
        words = premise[i][torch.randperm(LENGTH, generator=g)[:4]].clone()
        if label[i] == 0:
            absent = torch.tensor(sorted(set(range(60)) - set(premise[i].tolist())))
            words[:2] = absent[torch.randperm(len(absent), generator=g)[:2]]
        hypothesis[i] = words[torch.randperm(4, generator=g)] + 60
    return TensorDataset(premise, hypothesis, label)


class Batches:
    """gives the batches of a loader as dictionaries"""

    def __init__(self, loader, steps=None):
        self.loader = loader
        self.steps = steps

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        for step, (premise, hypothesis, label) in enumerate(self.loader):
            if self.steps is not None and step >= self.steps:
                break
            yield {"premise": premise, "hypothesis": hypothesis, "label": label}


class Entailment(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.emb = nn.Embedding(WORDS, d)
        self.attend = nn.MultiheadAttention(d, 4, batch_first=True)
        self.compare = nn.Sequential(nn.Linear(2 * d, 96), nn.ReLU())
        self.out = nn.Linear(96, 2)

    def forward(self, premise, hypothesis):
        p, h = self.emb(premise), self.emb(hypothesis)
        aligned, _ = self.attend(h, p, p)
        return self.out(self.compare(torch.cat([h, aligned], -1)).mean(1))


def parts(variant):
    torch.manual_seed(0)
    model = Entailment()
    criterion = nn.CrossEntropyLoss()

    def training_step(model, batch):
        return criterion(model(batch["premise"], batch["hypothesis"]), batch["label"])

    train = DataLoader(pairs(12000, 1), batch_size=16, shuffle=True)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "training_step": training_step,
        "train_loader": Batches(train, steps=32) if variant == "bad" else Batches(train),
        "val_loader": Batches(DataLoader(pairs(1000, 2), batch_size=200)),
    }


WORKS = lambda score: score > 0.85  # share of right pairs

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(4):
        model.train()
        total, seen = 0.0, 0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total, seen = total + loss.item(), seen + 1
        print(f"epoch {epoch + 1}: loss {total / seen:.4f}")
    model.eval()
    hits = n = 0
    with torch.no_grad():
        for batch in p["val_loader"]:
            guess = model(batch["premise"], batch["hypothesis"]).argmax(1)
            hits += (guess == batch["label"]).sum().item()
            n += len(guess)
    print(f"score: {hits / n:.4f}")
