"""Transformer encoder that tells which of two marker tokens comes first in a line of 16; mistake: PositionalEncoding as in the PyTorch tutorial (pe of shape (length, 1, d), x + pe[:x.size(0)]) with batch_first=True, every token of a line gets the same code and the loss stands at log 2; change: the code goes along dimension 1."""
import sys
import math
import torch
from torch import nn, Tensor
from torch.utils.data import DataLoader, TensorDataset

VOCAB, LENGTH = 30, 16


def lines(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(2, VOCAB, (n, LENGTH), generator=g)
    y = torch.randint(0, 2, (n,), generator=g)
    for row, first in zip(x, y.tolist()):
        a, b = torch.randperm(LENGTH, generator=g)[:2].sort().values.tolist()
        row[a], row[b] = (0, 1) if first == 0 else (1, 0)
    return TensorDataset(x, y)


class PositionalEncoding(nn.Module):
    def __init__(self, d_model: int, dropout: float = 0.0, max_len: int = 500, batch_first: bool = False):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.batch_first = batch_first
        self.register_buffer('pe', pe)

    def forward(self, x: Tensor) -> Tensor:
        if self.batch_first:
            x = x + self.pe[:x.size(1)].transpose(0, 1)
        else:
            x = x + self.pe[:x.size(0)]
        return self.dropout(x)


class OrderClassifier(nn.Module):
    def __init__(self, pos_encoder, d_model=32):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, d_model)
        self.pos_encoder = pos_encoder
        layer = nn.TransformerEncoderLayer(d_model, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.classifier = nn.Linear(d_model, 2)

    def forward(self, tokens):
        h = self.pos_encoder(self.embedding(tokens))
        return self.classifier(self.encoder(h).mean(dim=1))


def parts(variant):
    torch.manual_seed(0)
    pos_encoder = PositionalEncoding(32) if variant == "bad" else PositionalEncoding(32, batch_first=True)
    model = OrderClassifier(pos_encoder)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(lines(4000, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(lines(600, 2), batch_size=50)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        seen = 0.0
        for tokens, label in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(tokens), label)
            loss.backward()
            optimizer.step()
            seen += loss.item()
        print(f"epoch {epoch:3d} | loss {seen / len(p['train_loader']):5.3f}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([(model(t).argmax(1) == y).float() for t, y in p["val_loader"]]).mean().item()
    print(f"score: {score:.4f}")
