"""Which shelf was this item last put on: a transformer encoder over a shift's scans, the last of which is the question; mistake: nn.TransformerEncoderLayer is left at its sequence-first default although the batches are (batch, scans, features), so each scan attends to the same place in other shifts; change: batch_first=True."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

ITEMS, SHELVES, SCANS = 16, 8, 8
ASK = SHELVES  # the shelf number of a question


def shifts(n, seed):
    g = torch.Generator().manual_seed(seed)
    items = torch.rand(n, ITEMS, generator=g).argsort(1)[:, :SCANS]
    shelves = torch.randint(0, SHELVES, (n, SCANS), generator=g)
    pick = torch.randint(0, SCANS, (n, 1), generator=g)
    answer = shelves.gather(1, pick).squeeze(1)
    items = torch.cat([items, items.gather(1, pick)], 1)
    shelves = torch.cat([shelves, torch.full((n, 1), ASK)], 1)
    return torch.stack([items, shelves], 2), answer


class ShelfFinder(nn.Module):
    def __init__(self, width=64, **layer_options):
        super().__init__()
        self.item = nn.Embedding(ITEMS, width)
        self.shelf = nn.Embedding(SHELVES + 1, width)
        layer = nn.TransformerEncoderLayer(width, 4, 128, dropout=0.0, **layer_options)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(width, SHELVES)

    def forward(self, scans):
        h = self.item(scans[..., 0]) + self.shelf(scans[..., 1])
        return self.out(self.encoder(h)[:, -1])


def parts(variant):
    torch.manual_seed(0)
    options = {} if variant == "bad" else {"batch_first": True}
    model = ShelfFinder(**options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*shifts(8000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*shifts(1000, 2)), batch_size=250),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    right = total = 0
    for scans, y in loader:
        right += (model(scans).argmax(1) == y).sum().item()
        total += len(y)
    return right / total


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(8):
        model.train()
        running = 0.0
        for scans, shelf in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(scans), shelf)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            running += loss.item()
        print(f"epoch {epoch + 1}: loss {running / len(p['train_loader']):.3f}, accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
