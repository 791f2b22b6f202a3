"""Word-class tagger (bidirectional LSTM, SGD) on padded sentences; mistake: cross-entropy is already the mean over the real tokens and is divided by their number once more, so the steps are some 400 times too small; change: no second division."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

WORDS, TAGS, TIME, PAD = 200, 6, 18, -100


def sentences(n, seed):
    """A word may have either of two tags; the tag before decides which."""
    g0 = torch.Generator().manual_seed(8)
    lexicon = torch.stack([torch.randperm(TAGS, generator=g0)[:2] for _ in range(WORDS)])
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(1, WORDS, (n, TIME), generator=g)
    tags = torch.full((n, TIME), PAD)
    previous = torch.zeros(n, dtype=torch.long)
    for t in range(TIME):
        previous = lexicon[words[:, t], previous % 2]
        tags[:, t] = previous
    lengths = torch.randint(8, TIME + 1, (n, 1), generator=g)
    padding = torch.arange(TIME) >= lengths
    return words.masked_fill(padding, 0), tags.masked_fill(padding, PAD)


class Tagger(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.embed = nn.Embedding(WORDS, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.tag = nn.Linear(2 * width, TAGS)

    def forward(self, words):
        return self.tag(self.lstm(self.embed(words))[0])


def parts(variant):
    torch.manual_seed(0)
    model = Tagger()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)

    def loss_fn(logits, tags):
        loss = F.cross_entropy(logits.reshape(-1, TAGS), tags.reshape(-1), ignore_index=PAD)
        if variant == "bad":
            loss = loss / (tags != PAD).sum()
        return loss

    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": loss_fn,
        "train_loader": DataLoader(TensorDataset(*sentences(2000, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*sentences(300, 2)), batch_size=100),
        "metric": lambda out, y: (out.argmax(-1) == y)[y != PAD].float().mean(),
    }


@torch.no_grad()
def token_accuracy(model, loader):
    model.eval()
    hits = [(model(words).argmax(-1) == tags)[tags != PAD] for words, tags in loader]
    return torch.cat(hits).float().mean().item()


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        total = 0.0
        for words, tags in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(words), tags)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.5f}, accuracy {token_accuracy(model, p['val_loader']):.3f}")
    print(f"score: {token_accuracy(model, p['val_loader']):.4f}")
