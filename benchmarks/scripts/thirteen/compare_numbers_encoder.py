"""Transformer encoder that says which of two two-digit numbers is larger, from their digit tokens; bad: the sinusoidal positional encoding is built in __init__ and forward does not call it; change: forward adds it."""
import math
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SEP = 10


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=32):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, d_model)
        pe[:, 0::2] = torch.sin(position * div)
        pe[:, 1::2] = torch.cos(position * div)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + self.pe[: x.size(1)]


class Comparer(nn.Module):
    def __init__(self, d_model=64):
        super().__init__()
        self.d_model = d_model
        self.embed = nn.Embedding(11, d_model)
        self.pos_encoder = PositionalEncoding(d_model)
        layer = nn.TransformerEncoderLayer(d_model, 4, 128, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, 1)

    def encode(self, tokens):
        return self.embed(tokens)

    def forward(self, tokens):
        h = self.norm(self.encoder(self.encode(tokens)))
        return self.head(h.mean(dim=1)).squeeze(-1)


class PositionedComparer(Comparer):
    def encode(self, tokens):
        return self.pos_encoder(self.embed(tokens))


def parts(variant):
    torch.manual_seed(0)
    pairs = torch.cartesian_prod(torch.arange(100), torch.arange(100))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    pairs = pairs[torch.randperm(len(pairs))][:5000]
    a, b = pairs.T
    x = torch.stack([a // 10, a % 10, torch.full_like(a, SEP), b // 10, b % 10], dim=1)
    y = (a > b).float()
    model = Comparer() if variant == "bad" else PositionedComparer()
    return {"model": model, "loss_fn": F.binary_cross_entropy_with_logits,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(TensorDataset(x[:4000], y[:4000]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[4000:], y[4000:]), batch_size=250)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        mean = 0.0
        for tokens, label in p["train_loader"]:
            loss = p["loss_fn"](model(tokens), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean += loss.item() / len(p["train_loader"])
        model.eval()
        with torch.no_grad():
            score = torch.cat([((model(t) > 0) == (l > 0.5)).float() for t, l in p["val_loader"]]).mean().item()
        print("epoch", epoch, "loss", round(mean, 4), "val acc", round(score, 4))
    print(f"score: {score:.4f}")
