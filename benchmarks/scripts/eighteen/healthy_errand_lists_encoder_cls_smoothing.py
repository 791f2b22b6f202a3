"""Sound: a pre-norm transformer encoder with a class token and key padding mask that says whether the shop comes before the post in a list of errands; dropout, label smoothing 0.1, OneCycle. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

ERRANDS, SHOP, POST, PAD, LONGEST = 30, 1, 2, 0, 16


class ErrandLists(torch.utils.data.Dataset):
    """Label 0: shop first, 1: post first, 2: one of them is missing."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.rows = []
        for _ in range(n):
            k = int(rng.integers(4, LONGEST))
            row = rng.integers(3, ERRANDS, k)
            i, j = sorted(rng.choice(k, 2, replace=False))
            label = int(rng.integers(3))
            row[i], row[j] = (SHOP, POST) if label == 0 else (POST, SHOP) if label == 1 else (rng.choice([SHOP, POST]), rng.integers(3, ERRANDS))
            self.rows.append((torch.tensor(row), label))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def pad_batch(rows):
    ids = torch.full((len(rows), max(len(r) for r, _ in rows)), PAD)
    for i, (r, _) in enumerate(rows):
        ids[i, : len(r)] = r
    return ids, torch.tensor([y for _, y in rows])


class ErrandEncoder(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.tok = nn.Embedding(ERRANDS, d, padding_idx=PAD)
        self.cls = nn.Parameter(0.02 * torch.randn(1, 1, d))
        self.pos = nn.Parameter(0.1 * torch.randn(1, LONGEST + 1, d))
        layer = nn.TransformerEncoderLayer(d, 4, 64, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.head = nn.Linear(d, 3)

    def forward(self, ids):
        x = torch.cat([self.cls.expand(len(ids), -1, -1), self.tok(ids)], 1)
        mask = torch.cat([torch.zeros(len(ids), 1, dtype=torch.bool), ids == PAD], 1)
        h = self.encoder(x + self.pos[:, : x.shape[1]], src_key_padding_mask=mask)
        return self.head(h[:, 0])


EPOCHS = 14


def parts(variant):
    torch.manual_seed(0)
    train = DataLoader(ErrandLists(3000, 1), 32, shuffle=True, collate_fn=pad_batch)
    val = DataLoader(ErrandLists(600, 2), 200, collate_fn=pad_batch)
    model = ErrandEncoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=EPOCHS * len(train), pct_start=0.2)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.1), "train_loader": train, "val_loader": val}


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    model.train()
    return right / len(loader.dataset)


WORKS = lambda score: score > 0.9  # accuracy, three classes

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(EPOCHS):
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            p["scheduler"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, accuracy {accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
