"""Sound: a transformer encoder in its default layout; the collate function stacks the weaving patterns along dim 1, so time rightly comes first, and the mean is taken over dim 0. change: nothing."""
import math
import random
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader

THREADS, LENGTH = 10, 16


def pattern(rng):
    """Red (7), white (8) and gold (9) come once each; the label says which of them comes first."""
    threads = [rng.randrange(7) for _ in range(LENGTH)]
    places = rng.sample(range(LENGTH), 3)
    for colour, place in zip((7, 8, 9), places):
        threads[place] = colour
    return threads, places.index(min(places))


def patterns(n, seed):
    rng = random.Random(seed)
    return [pattern(rng) for _ in range(n)]


def stack_columns(items):
    return torch.stack([torch.tensor(threads) for threads, _ in items], dim=1), torch.tensor([y for _, y in items])


class PatternEncoder(nn.Module):
    def __init__(self, width=48):
        super().__init__()
        self.thread = nn.Embedding(THREADS, width)
        t = torch.arange(LENGTH)[:, None] * torch.exp(-math.log(100.0) * torch.arange(0, width, 2) / width)
        self.register_buffer("when", torch.cat([t.sin(), t.cos()], 1).unsqueeze(1))
        layer = nn.TransformerEncoderLayer(width, 4, 96, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(width, 3)

    def forward(self, threads):
        x = self.thread(threads) + self.when[: threads.size(0)]
        return self.head(self.encoder(x).mean(0))


def parts(variant):
    torch.manual_seed(0)
    model = PatternEncoder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(patterns(4000, 1), batch_size=50, shuffle=True, collate_fn=stack_columns),
            "val_loader": DataLoader(patterns(600, 2), batch_size=100, collate_fn=stack_columns)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(10):
        losses = []
        model.train()
        for threads, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(threads), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            right = torch.cat([(model(threads).argmax(1) == y).float() for threads, y in p["val_loader"]])
        score = right.mean().item()
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.4f} accuracy {score:.3f}")
    print(f"score: {score:.4f}")
