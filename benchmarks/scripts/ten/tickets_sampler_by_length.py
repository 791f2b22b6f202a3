"""Hours that a support ticket takes, from its words, bag of embeddings, Huber loss, momentum; to save padding a sampler hands the tickets out from short to long, each epoch anew, and long ones are other matters that take longer; change: shuffle."""
import sys
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

VOCAB, MATTERS = 400, 6


class Tickets(Dataset):
    def __init__(self, n, seed):
        rule = torch.Generator().manual_seed(3)
        words = torch.randint(1, VOCAB, (MATTERS, 30), generator=rule)
        hours = torch.tensor([-1.6, -1.0, -0.3, 0.3, 1.0, 1.6])
        weight = 0.5 * torch.randn(VOCAB, generator=rule)
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(n):
            k = int(torch.randint(MATTERS, (1,), generator=g))
            length = 6 + 5 * k + int(torch.randint(0, 6, (1,), generator=g))
            own = torch.rand(length, generator=g) < 0.55
            text = torch.where(own, words[k][torch.randint(30, (length,), generator=g)], torch.randint(1, VOCAB, (length,), generator=g))
            y = hours[k] + weight[text].mean() + 0.1 * torch.randn((), generator=g)
            self.items.append((text, y))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class ByLength(Sampler):
    """Tickets of like length side by side, so that a batch has little padding."""

    def __init__(self, data):
        self.order = sorted(range(len(data)), key=lambda i: len(data[i][0]))

    def __iter__(self):
        return iter(self.order)

    def __len__(self):
        return len(self.order)


def collate(items):
    texts, ys = zip(*items)
    return pad_sequence(texts, batch_first=True), torch.stack(ys)


class BagOfWords(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.words = nn.Embedding(VOCAB, d, padding_idx=0)
        self.mlp = nn.Sequential(nn.Linear(d, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1))

    def forward(self, text):
        n = (text != 0).sum(1, keepdim=True)
        return self.mlp(self.words(text).sum(1) / n.sqrt()).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    train, val = Tickets(3000, 1), Tickets(500, 2)
    order = {"sampler": ByLength(train)} if variant == "bad" else {"shuffle": True}
    model = BagOfWords()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4),
        "loss_fn": nn.HuberLoss(),
        "train_loader": DataLoader(train, batch_size=25, collate_fn=collate, **order),
        "val_loader": DataLoader(val, batch_size=250, collate_fn=collate),
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    o, y = (torch.cat(v) for v in zip(*[(model(t), y) for t, y in loader]))
    return (1 - ((o - y) ** 2).mean() / y.var()).item()


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for text, hours in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(text), hours)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1:2d}: loss {total / len(p['train_loader']):.4f}, r2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
