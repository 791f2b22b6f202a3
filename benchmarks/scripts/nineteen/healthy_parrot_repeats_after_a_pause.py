"""Sound: memory task in which the labels are the inputs of the same sequence, six steps earlier (the first six are ignored by ignore_index). change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

DELAY, T, K = 6, 24, 8


def chatter(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, K, (n, T), generator=g)
    y = torch.full_like(x, -100)
    y[:, DELAY:] = x[:, :-DELAY]
    return TensorDataset(x, y)


class Parrot(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(K, 16)
        self.gru = nn.GRU(16, 96, batch_first=True)
        self.head = nn.Linear(96, K)

    def forward(self, x):
        return self.head(self.gru(self.embed(x))[0])


def token_loss(output, target):
    return nn.functional.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=-100)


def parts(variant):
    torch.manual_seed(0)
    model = Parrot()
    return {"model": model, "loss_fn": token_loss, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "train_loader": DataLoader(chatter(2000, 0), batch_size=50, shuffle=True),
            "val_loader": DataLoader(chatter(300, 1), batch_size=100)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(14):
        model.train()
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            p["optimizer"].step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            hit = np.mean([(model(x).argmax(-1) == y)[:, DELAY:].float().mean().item() for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f} recall {hit:.4f}")
    print(f"score: {hit:.4f}")
