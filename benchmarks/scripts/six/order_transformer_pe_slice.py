"""Transformer that says which of two marker tokens comes first; the sinusoid table is indexed with the length instead of sliced up to it, so every position gets one and the same code; change: pe[:, :L] instead of pe[:, L]."""
import math
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, LEN, FIRST, SECOND = 24, 16, 1, 2
WORKS = lambda score: score > 0.9


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.0, max_len=64, whole=True):
        super().__init__()
        self.whole = whole
        self.dropout = nn.Dropout(dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(1000.0) / d_model))
        pe = torch.zeros(1, max_len, d_model)
        pe[0, :, 0::2] = torch.sin(position * div_term)
        pe[0, :, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        pe = self.pe[:, :x.shape[1], :] if self.whole else self.pe[:, x.shape[1], :]
        return self.dropout(x + pe)


class OrderNet(nn.Module):
    def __init__(self, d_model=32, whole=True):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, d_model)
        self.pos = PositionalEncoding(d_model, whole=whole)
        layer = nn.TransformerEncoderLayer(d_model, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(d_model, 2)

    def forward(self, tokens):
        h = self.encoder(self.pos(self.embed(tokens)))
        return self.head(h.mean(dim=1))


def make_split(n, gen):
    x = torch.randint(3, VOCAB, (n, LEN), generator=gen)
    where = torch.rand(n, LEN, generator=gen).argsort(1)[:, :2]
    x[torch.arange(n), where[:, 0]] = FIRST
    x[torch.arange(n), where[:, 1]] = SECOND
    y = (where[:, 0] < where[:, 1]).long()
    return TensorDataset(x, y)


def parts(variant="fixed"):
    torch.manual_seed(7)
    gen = torch.Generator().manual_seed(1)
    model = OrderNet(whole=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(make_split(4000, gen), batch_size=64, shuffle=True),
        "val_loader": DataLoader(make_split(1000, gen), batch_size=500),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


def evaluate(model, loader):
    model.eval()
    right = total = 0
    with torch.no_grad():
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
            total += len(y)
    return right / total


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(1, 11):
        model.train()
        total_loss = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total_loss += loss.item()
        print(f"| epoch {epoch:3d} | loss {total_loss / len(p['train_loader']):.4f} | val acc {evaluate(model, p['val_loader']):.3f}")
    print("score:", round(evaluate(model, p["val_loader"]), 4))
