"""BiLSTM over guests' notes on pretrained word vectors; the notes write words with capitals, the vectors' keys are lower case, so the frozen table is all zeros (bad). change: look up word.lower()."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

PRAISE = "lovely quiet spotless friendly cosy splendid bright generous delicious calm".split()
BLAME = "dirty noisy rude stale cramped broken gloomy cold overpriced slow".split()
PLAIN = "room breakfast the was bed staff and bath very our window lobby night view stay".split()


def word_vectors(dim=25):
    """As from a file of vectors: words of one feeling lie together."""
    g = np.random.default_rng(5)
    axis = g.normal(size=dim) / dim ** 0.5
    table = {}
    for sign, ws in ((1.5, PRAISE), (-1.5, BLAME), (0.0, PLAIN)):
        for w in ws:
            table[w] = sign * axis + 0.5 * g.normal(size=dim)
    return table


def notes(n, seed):
    g = np.random.default_rng(seed)
    out = []
    for _ in range(n):
        label = int(g.integers(2))
        mine, other = (PRAISE, BLAME) if label else (BLAME, PRAISE)
        k = int(g.integers(6, 20))
        ws = [str(g.choice(mine if r < 0.3 else other if r < 0.38 else PLAIN)) for r in g.random(k)]
        out.append((" ".join(w.capitalize() for w in ws), label))
    return out


def build_matrix(vocab, variant, dim=25):
    vectors = word_vectors(dim)
    matrix = torch.zeros(len(vocab) + 1, dim)
    for word, i in vocab.items():
        key = word if variant == "bad" else word.lower()
        if key in vectors:
            matrix[i] = torch.tensor(vectors[key])
    return matrix


class Sentiment(nn.Module):
    def __init__(self, matrix, hidden=32):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(matrix, freeze=True, padding_idx=0)
        self.lstm = nn.LSTM(matrix.shape[1], hidden, bidirectional=True, batch_first=True)
        self.out = nn.Linear(2 * hidden, 1)

    def forward(self, batch):
        ids, lengths = batch
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.out(torch.cat([h[0], h[1]], 1)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    train, val = notes(2000, 1), notes(500, 2)
    vocab = {w: i + 1 for i, w in enumerate(sorted({w for t, _ in train for w in t.split()}))}

    def collate(items):
        ids = [torch.tensor([vocab.get(w, 0) for w in t.split()]) for t, _ in items]
        return (pad_sequence(ids, batch_first=True), torch.tensor([len(i) for i in ids])), torch.tensor([float(y) for _, y in items])

    model = Sentiment(build_matrix(vocab, variant))
    params = [p for p in model.parameters() if p.requires_grad]
    return {"model": model, "optimizer": torch.optim.Adam(params, lr=2e-3), "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(train, 32, shuffle=True, collate_fn=collate), "val_loader": DataLoader(val, 100, collate_fn=collate)}


@torch.no_grad()
def accuracy(model, loader):
    hits = [((model(x) > 0).float() == y).float() for x, y in loader]
    return torch.cat(hits).mean().item()


WORKS = lambda score: score > 0.85  # accuracy

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f} accuracy {accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
