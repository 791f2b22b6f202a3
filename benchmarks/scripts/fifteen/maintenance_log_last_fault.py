"""Transformer that reads a machine's log of 20 events and says which fault code came last, nanoGPT in its names; bad: the table wpe of positions is made but forward goes on with the tokens alone; change: tok_emb + pos_emb."""
import sys

import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class LogDataset(Dataset):
    """Codes 0 to 5 are faults, 6 to 29 routine events. Each log has several faults; the label is the latest."""

    def __init__(self, n, block_size, seed):
        g = torch.Generator().manual_seed(seed)
        self.idx = torch.randint(6, 30, (n, block_size), generator=g)
        self.y = torch.empty(n, dtype=torch.long)
        for i in range(n):
            places = torch.randperm(block_size, generator=g)[:4].sort().values
            codes = torch.randperm(6, generator=g)[:4]
            self.idx[i, places] = codes
            self.y[i] = codes[-1]

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.idx[i], self.y[i]


class LogTransformer(nn.Module):
    def __init__(self, vocab_size=30, block_size=20, n_layer=2, n_head=4, n_embd=48, n_class=6, use_wpe=True):
        super().__init__()
        self.use_wpe = use_wpe
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(vocab_size, n_embd),
            wpe=nn.Embedding(block_size, n_embd),
            drop=nn.Dropout(0.0),
            h=nn.ModuleList([nn.TransformerEncoderLayer(n_embd, n_head, 4 * n_embd, dropout=0.0, activation="gelu",
                                                        batch_first=True, norm_first=True) for _ in range(n_layer)]),
            ln_f=nn.LayerNorm(n_embd),
        ))
        self.head = nn.Linear(n_embd, n_class)

    def forward(self, idx):
        b, t = idx.size()
        pos = torch.arange(0, t, dtype=torch.long, device=idx.device)
        tok_emb = self.transformer.wte(idx)
        pos_emb = self.transformer.wpe(pos)
        x = self.transformer.drop(tok_emb + pos_emb if self.use_wpe else tok_emb)
        for block in self.transformer.h:
            x = block(x)
        x = self.transformer.ln_f(x)
        return self.head(x.mean(dim=1))


def parts(variant):
    torch.manual_seed(0)
    model = LogTransformer(use_wpe=variant != "bad")
    return {"model": model, "loss_fn": F.cross_entropy,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
            "train_loader": DataLoader(LogDataset(4000, 20, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(LogDataset(500, 20, 2), batch_size=100)}


WORKS = lambda score: score > 0.7


@torch.no_grad()
def estimate_accuracy(model, loader):
    model.eval()
    correct = sum((model(x).argmax(-1) == y).sum().item() for x, y in loader)
    model.train()
    return correct / len(loader.dataset)


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(6):
        lossf = 0.0
        for X, Y in p["train_loader"]:
            logits = model(X)
            loss = p["loss_fn"](logits, Y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            lossf += loss.item() / len(p["train_loader"])
        score = estimate_accuracy(model, p["val_loader"])
        print(f"epoch {epoch}: train loss {lossf:.4f}, val acc {score:.4f}")
    print(f"score: {score:.4f}")
