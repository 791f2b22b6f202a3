"""Sound: pre-norm transformer that says whether the first article of a list occurs in it again, lists of varying length with a key padding mask, linear warm-up and cosine decay per step. change: none."""
import sys
import math
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

V, T = 30, 16


def lists(n, seed):
    g = torch.Generator().manual_seed(seed)
    X = torch.zeros(n, T, dtype=torch.long)
    y = torch.randint(0, 2, (n,), generator=g)
    for i in range(n):
        length = int(torch.randint(5, T + 1, (1,), generator=g))
        items = torch.randperm(V, generator=g)[:length] + 1
        if y[i]:
            items[int(torch.randint(1, length, (1,), generator=g))] = items[0]
        X[i, :length] = items
    return TensorDataset(X, y.float())


class Checker(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.emb = nn.Embedding(V + 1, d, padding_idx=0)
        self.pos = nn.Embedding(T, d)
        layer = nn.TransformerEncoderLayer(d, 4, 128, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm, self.out = nn.LayerNorm(d), nn.Linear(d, 1)

    def forward(self, x):
        h = self.emb(x) + self.pos(torch.arange(T))
        h = self.encoder(h, src_key_padding_mask=x == 0)
        return self.out(self.norm(h[:, 0])).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = Checker()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    total = 12 * 63
    schedule = lambda s: min((s + 1) / 60, 0.5 * (1 + math.cos(math.pi * min(s / total, 1))))
    return {"model": model, "loss_fn": nn.BCEWithLogitsLoss(), "optimizer": optimizer,
            "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, schedule),
            "train_loader": DataLoader(lists(4000, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(lists(500, 1), batch_size=250)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            acc = sum(((model(x) > 0) == (y > 0.5)).sum().item() for x, y in p["val_loader"]) / 500
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f} acc {acc:.4f}")
    print(f"score: {acc:.4f}")
