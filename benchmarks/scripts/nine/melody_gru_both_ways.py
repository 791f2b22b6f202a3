"""Next note of folk tunes by a GRU language model; the GRU is bidirectional, so at each place the backward half has read the note to be named: loss near nothing, and no continuation of a tune; change: a GRU that reads forwards only."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

NOTES, END, LENGTH = 14, 14, 24                     # two octaves of a scale; 14 ends the tune


def tunes(n, seed):
    """Each tune has its own step that it repeats (up by k, back by one), with a turn at the rim and now and then a free note."""
    rng = np.random.default_rng(seed)
    out = np.zeros((n, LENGTH + 1), dtype=np.int64)
    for i in range(n):
        up, note = rng.integers(2, 5), rng.integers(0, NOTES)
        for t in range(LENGTH):
            out[i, t] = note
            note = (note + (up if t % 2 == 0 else -1)) % NOTES
            if rng.random() < 0.06:
                note = rng.integers(0, NOTES)
        out[i, LENGTH] = END
    return torch.from_numpy(out)


class TuneModel(nn.Module):
    def __init__(self, bidirectional):
        super().__init__()
        self.embed = nn.Embedding(NOTES + 1, 24)
        width = 64 // (2 if bidirectional else 1)
        self.gru = nn.GRU(24, width, batch_first=True, bidirectional=bidirectional)
        self.out = nn.Linear(64, NOTES + 1)

    def forward(self, notes):
        h, _ = self.gru(self.embed(notes))
        return self.out(h)


def loss_fn(out, target):
    return F.cross_entropy(out.flatten(0, 1), target.flatten())


def parts(variant):
    torch.manual_seed(0)
    model = TuneModel(bidirectional=variant == "bad")
    a, b = tunes(1500, 1), tunes(300, 2)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
        "loss_fn": loss_fn,
        "train_loader": DataLoader(TensorDataset(a[:, :-1], a[:, 1:]), batch_size=30, shuffle=True),
        "val_loader": DataLoader(TensorDataset(b[:, :-1], b[:, 1:]), batch_size=100),
    }


@torch.no_grad()
def continuation(model, loader):
    """Given the first eight to twenty notes, how often is the next note named?"""
    model.eval()
    right = [(model(x[:, :k])[:, -1].argmax(1) == y[:, k - 1]).float() for x, y in loader for k in range(8, 21, 2)]
    return torch.cat(right).mean().item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(1, 13):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        model.eval()
        with torch.no_grad():
            val = np.mean([p["loss_fn"](model(x), y).item() for x, y in p["val_loader"]])
        print(f"epoch {epoch}: train {loss.item():.3f}, val {val:.3f}")
    print(f"score: {continuation(model, p['val_loader']):.4f}")
