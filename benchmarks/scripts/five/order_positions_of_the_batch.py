"""Transformer encoder that tells which of four marker tokens comes first in a sequence; mistake: the positional encoding written for (T, B, D) is used with batch_first, so it numbers the samples, not the places; change: it is indexed by x.size(1)."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

T, MARKERS, FILLER = 16, 4, 20
WORKS = lambda acc: acc > 0.85


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, batch_first, dropout=0.0, max_len=500):
        super().__init__()
        self.dropout = nn.Dropout(p=dropout)
        self.batch_first = batch_first
        position = torch.arange(max_len).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2] = torch.sin(position * div_term)
        pe[:, 0, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe)

    def forward(self, x):
        x = x + (self.pe[:x.size(1)].transpose(0, 1) if self.batch_first else self.pe[:x.size(0)])
        return self.dropout(x)


class FirstMarker(nn.Module):
    def __init__(self, variant, d_model=48, nhead=4, d_hid=96, nlayers=2):
        super().__init__()
        self.d_model = d_model
        self.embedding = nn.Embedding(MARKERS + FILLER, d_model)
        self.pos_encoder = PositionalEncoding(d_model, batch_first=variant != "bad")
        layers = nn.TransformerEncoderLayer(d_model, nhead, d_hid, dropout=0.0, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layers, nlayers)
        self.linear = nn.Linear(d_model, MARKERS)
        self.init_weights()

    def init_weights(self):
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.zeros_(self.linear.bias)
        nn.init.uniform_(self.linear.weight, -0.1, 0.1)

    def forward(self, src):
        src = self.embedding(src) * math.sqrt(self.d_model)
        h = self.transformer_encoder(self.pos_encoder(src))
        return self.linear(h.mean(1))


def make(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(MARKERS, MARKERS + FILLER, (n, T), generator=g)
    y = torch.empty(n, dtype=torch.long)
    for i in range(n):
        places = torch.randperm(T, generator=g)[:MARKERS]      # every marker occurs once
        x[i, places] = torch.arange(MARKERS)
        y[i] = places.argmin()
    return TensorDataset(x, y)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = FirstMarker(variant)
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(make(4000, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(make(500, 2), batch_size=50),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(-1) == y).float().mean()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    log_interval = 80
    for epoch in range(1, 13):
        model.train()
        total_loss = 0.0
        for i, (data, targets) in enumerate(p["train_loader"]):
            output = model(data)
            loss = criterion(output, targets)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            total_loss += loss.item()
        model.eval()
        with torch.no_grad():
            acc = sum((model(a).argmax(-1) == b).float().mean().item() for a, b in p["val_loader"]) / len(p["val_loader"])
        print(f"| epoch {epoch:3d} | loss {total_loss / len(p['train_loader']):5.3f} | valid acc {acc:5.3f}", flush=True)
    print(f"score: {acc:.4f}")
