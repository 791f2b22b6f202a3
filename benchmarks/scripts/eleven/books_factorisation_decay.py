"""Ratings of books by factorisation with biases, Adam; lambda 0.02 of the paper (a penalty for each single rating) is given as weight_decay, which pulls at all rows in every step and is stronger than their share of a mean over 256 ratings: the factors vanish; change: 1e-5."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

READERS, BOOKS, RANK = 300, 200, 4


def ratings():
    g = torch.Generator().manual_seed(11)
    a, b = torch.randn(READERS, RANK, generator=g), torch.randn(BOOKS, RANK, generator=g)
    bias_r, bias_b = 0.4 * torch.randn(READERS, generator=g), 0.5 * torch.randn(BOOKS, generator=g)
    cells = torch.randperm(READERS * BOOKS, generator=g)[:20000]
    reader, book = cells // BOOKS, cells % BOOKS
    stars = 3.5 + bias_r[reader] + bias_b[book] + 0.4 * (a[reader] * b[book]).sum(1)
    stars = stars + 0.25 * torch.randn(len(cells), generator=g)
    return reader, book, stars


class Factors(nn.Module):
    def __init__(self, mean, rank=8):
        super().__init__()
        self.register_buffer("mean", mean)
        self.reader, self.book = nn.Embedding(READERS, rank), nn.Embedding(BOOKS, rank)
        self.reader_bias, self.book_bias = nn.Embedding(READERS, 1), nn.Embedding(BOOKS, 1)
        for table in (self.reader, self.book):
            nn.init.normal_(table.weight, std=0.1)
        for table in (self.reader_bias, self.book_bias):
            nn.init.zeros_(table.weight)

    def forward(self, pair):
        r, b = pair[:, 0], pair[:, 1]
        bias = self.reader_bias(r) + self.book_bias(b)
        return self.mean + bias.squeeze(1) + (self.reader(r) * self.book(b)).sum(1)


def parts(variant):
    torch.manual_seed(0)
    reader, book, stars = ratings()
    pairs = torch.stack([reader, book], 1)
    model = Factors(stars[:17000].mean())
    decay = 0.02 if variant == "bad" else 1e-5
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=decay),
        "train_loader": DataLoader(TensorDataset(pairs[:17000], stars[:17000]), batch_size=256, shuffle=True),
        "val_loader": DataLoader(TensorDataset(pairs[17000:], stars[17000:]), batch_size=1000),
        "loss_fn": nn.MSELoss(),
    }


WORKS = lambda score: score > 0.7


@torch.no_grad()
def explained(model, loader):
    out, y = (torch.cat(v) for v in zip(*[(model(x), y) for x, y in loader]))
    return (1 - (out - y).pow(2).mean() / y.var()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        total = 0.0
        for pair, stars in p["train_loader"]:
            loss = criterion(model(pair), stars)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(stars)
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: rmse {(total / 17000) ** 0.5:.4f}, explained {explained(model, p['val_loader']):.3f}")
    print(f"score: {explained(model, p['val_loader']):.4f}")
