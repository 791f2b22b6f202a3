"""Twelve drawers of a pharmacy shelf are given as (drug, strength) tokens, then a query for one drug; a transformer encoder answers its strength. Mistake: nn.TransformerEncoderLayer keeps its default layout (time first) while the tensors are (batch, time, features), so attention runs across the batch. change: batch_first=True."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

DRUGS, STRENGTHS, DRAWERS = 30, 6, 12


def draw_shelves(n):
    drugs = torch.stack([torch.randperm(DRUGS)[:DRAWERS] for _ in range(n)])
    strengths = torch.randint(0, STRENGTHS, (n, DRAWERS))
    asked = torch.randint(0, DRAWERS, (n, 1))
    query = drugs.gather(1, asked)
    answer = strengths.gather(1, asked).squeeze(1)
    shelf = torch.stack([torch.cat([drugs, query], 1),
                         torch.cat([strengths, torch.full((n, 1), STRENGTHS)], 1)], 2)
    return TensorDataset(shelf, answer)


class ShelfEncoder(nn.Module):
    def __init__(self, width, **layer_options):
        super().__init__()
        self.drug = nn.Embedding(DRUGS, width)
        self.strength = nn.Embedding(STRENGTHS + 1, width)
        block = nn.TransformerEncoderLayer(d_model=width, nhead=2, dim_feedforward=96, dropout=0.0, **layer_options)
        self.encoder = nn.TransformerEncoder(block, num_layers=2)
        self.answer = nn.Linear(width, STRENGTHS)

    def forward(self, shelf):
        tokens = self.drug(shelf[..., 0]) + self.strength(shelf[..., 1])
        return self.answer(self.encoder(tokens)[:, -1])


def parts(variant):
    torch.manual_seed(0)
    train, val = draw_shelves(12000), draw_shelves(1000)
    options = {} if variant == "bad" else {"batch_first": True}
    model = ShelfEncoder(48, **options)
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1.5e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=128, shuffle=True),
            "val_loader": DataLoader(val, batch_size=250)}


WORKS = lambda score: score > 0.7


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        hits = [(model(x).argmax(1) == y).float() for x, y in loader]
    model.train()
    return torch.cat(hits).mean().item()


def main():
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(7):
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.detach())
        print(f"epoch {epoch}: train {torch.stack(losses).mean():.4f} val acc {accuracy(p['model'], p['val_loader']):.3f}")
    score = accuracy(p["model"], p["val_loader"])
    print(f"score: {score:.4f}")


if __name__ == "__main__":
    main()
